package testkit

import (
	"errors"

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
