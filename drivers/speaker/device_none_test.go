//go:build nosound || !cgo

package speaker

import (
	"errors"
	"testing"

	"github.com/kipass/kipass/drivers"
)

func TestThisBuildHasNoVoice(t *testing.T) {
	s := New(testOptions())
	if err := show(s, "short"); !errors.Is(err, drivers.ErrNotInBuild) {
		t.Errorf("Show: %v", err)
	}
	if err := s.Check(); !errors.Is(err, drivers.ErrNotInBuild) {
		t.Errorf("Check: %v", err)
	}
	halt(t, s)
}
