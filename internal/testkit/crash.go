package testkit

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kipass/kipass/internal/durable"
)

// ErrFault is what a step that was made to fail returns.
var ErrFault = errors.New("played fault")

// Crash makes the At-th step of a [durable.Disk] fail, counted from 1, and every one after it, as a loss of power does.
// With Persisted the At-th step is done all the same, and only its answer is lost. With Once the steps after it are done
// again, as on a disk that had one bad moment.
type Crash struct {
	At        int
	Persisted bool
	Once      bool
	Steps     []string // the steps so far, the failed ones included
}

// Disk returns the disk that crashes.
func (c *Crash) Disk() durable.Disk {
	return durable.Disk{Step: func(name string, do func() error) error {
		c.Steps = append(c.Steps, name)
		if len(c.Steps) < c.At || c.Once && len(c.Steps) > c.At {
			return do()
		}
		if len(c.Steps) == c.At && c.Persisted {
			if err := do(); err != nil {
				return err
			}
		}
		return ErrFault
	}}
}

// EachCrash does something over and over, each time from the beginning and with another of its steps the one that fails,
// undone or persisted, until all have been. begin makes what is needed anew and returns what is done and the check after
// it, which is given words for the fault. There are at least as many steps as said, for a test that has none finds nothing.
func EachCrash(t *testing.T, least int, begin func() (do func(durable.Disk) error, check func(fault string))) {
	t.Helper()
	for _, persisted := range []bool{false, true} {
		for n := 1; ; n++ {
			do, check := begin()
			crash := Crash{At: n, Persisted: persisted}
			err := do(crash.Disk())
			if len(crash.Steps) < n {
				if n <= least || err != nil {
					t.Fatalf("it has %d steps, want %d at least, and ended with %v", len(crash.Steps), least, err)
				}
				break
			}
			fault := fmt.Sprintf("fault %d (%s, persisted %v)", n, crash.Steps[n-1], persisted)
			if !errors.Is(err, ErrFault) {
				t.Errorf("%s: %v", fault, err)
			}
			check(fault)
		}
	}
}
