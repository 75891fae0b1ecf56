//go:build kipasslab

package main

import (
	"time"

	"github.com/kipass/kipass/internal/labfault"
)

func init() { version += labfault.Mark }

// clock is the wall clock and the running time that the server goes by: a wall clock that the lab shifts.
func clock() (now func() time.Time, elapsed func() time.Duration) {
	faults := labfault.FromEnvironment()
	if faults == nil {
		return nil, nil
	}
	began := time.Now()
	return faults.Now, func() time.Duration { return time.Since(began) }
}
