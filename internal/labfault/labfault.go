// Package labfault lets the lab break what a program of its own builds stands on: the wall clock and the disk. The lab
// writes what is wrong into a file, the program looks at it all the time. Only files with the build tag kipasslab
// import this package, so that no program that is shipped holds it.
package labfault

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/kipass/kipass/internal/durable"
)

const (
	// Variable is the environment variable that names the file.
	Variable = "KIPASS_LAB_FAULTS"
	// Mark ends the version of a program that was built for the lab.
	Mark = "+lab"
)

// LookEvery is for how long what the file said is believed.
const LookEvery = 20 * time.Millisecond

// State is what is wrong. The zero State is nothing.
type State struct {
	Clock  time.Duration `json:"clock"`  // how far ahead the wall clock is
	Source string        `json:"source"` // who vouches for the gate's wall clock: "" nobody, "battery" or "kernel"
	Flush  time.Duration `json:"flush"`  // how much longer each flush of the disk takes
	Fail   bool          `json:"fail"`   // whether flushes fail with EIO
}

// Write makes s the state of the programs that look at path.
func (s State) Write(path string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.Disk{}.Replace(path, raw, 0o600)
}

// Faults are those of one program.
type Faults struct {
	path string

	mu     sync.Mutex
	state  State
	looked time.Time // monotonic
	failed int       // flushes that failed
}

// FromEnvironment returns the faults of the file that the environment names; nil if it names none.
func FromEnvironment() *Faults {
	path := os.Getenv(Variable)
	if path == "" {
		return nil
	}
	return &Faults{path: path}
}

// State returns what is wrong now. A file that cannot be read says what it said last.
func (f *Faults) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.looked.IsZero() || now.Sub(f.looked) >= LookEvery {
		f.looked = now
		var s State
		if raw, err := os.ReadFile(f.path); err == nil && json.Unmarshal(raw, &s) == nil {
			f.state = s
		}
	}
	return f.state
}

// Now returns what the wall clock says. It has no monotonic reading: a wall clock that is stepped has none to offer.
func (f *Faults) Now() time.Time { return time.Now().Round(0).Add(f.State().Clock) }

// Commit does what a commit of two flushes does on the faulty disk. One that fails is not on the disk, and every other
// time is, although its caller is told that it failed.
func (f *Faults) Commit(commit func(fail error) error) error {
	s := f.State()
	time.Sleep(2 * s.Flush)
	if !s.Fail {
		return commit(nil)
	}
	f.mu.Lock()
	f.failed++
	persisted := f.failed%2 == 0
	f.mu.Unlock()
	if !persisted {
		return commit(syscall.EIO)
	}
	if err := commit(nil); err != nil {
		return err
	}
	return fmt.Errorf("flushing: %w", syscall.EIO)
}

// Step does a step of replacing a whole file on the faulty disk.
func (f *Faults) Step(name string, do func() error) error {
	s := f.State()
	if name != "sync" {
		return do()
	}
	time.Sleep(s.Flush)
	if s.Fail {
		return syscall.EIO
	}
	return do()
}
