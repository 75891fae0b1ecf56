//go:build nosound || !cgo

package speaker

import (
	"context"
	"fmt"
	"time"

	"github.com/kipass/kipass/drivers"
)

func openDevice(context.Context, time.Duration) (soundDevice, error) {
	return nil, fmt.Errorf("no voice in this build: %w", drivers.ErrNotInBuild)
}
