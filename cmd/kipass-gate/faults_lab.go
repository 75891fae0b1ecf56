//go:build kipasslab

package main

import (
	"context"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/labfault"
)

func init() { version += labfault.Mark }

// faults are what the lab breaks, nil: nothing.
var faults = labfault.FromEnvironment()

// clockSources are where the gate has its time from: a wall clock that the lab shifts, and what vouches for it.
func clockSources() clock.Options {
	if faults == nil {
		return clock.Options{}
	}
	return clock.Options{
		Now: faults.Now,
		Kernel: func() (clock.KernelTime, error) {
			if faults.State().Source == "kernel" {
				return clock.KernelTime{MaxError: time.Millisecond}, nil
			}
			return clock.KernelTime{MaxError: 16 * time.Second}, nil // as it is without an NTP daemon
		},
		RTC:   func() bool { return faults.State().Source == "battery" },
		Steps: clockSteps,
	}
}

// clockSteps tells of steps within a moment, as the kernel's timer does.
func clockSteps(ctx context.Context, stepped func()) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for shift := faults.State().Clock; ; {
		select {
		case <-tick.C:
			if now := faults.State().Clock; now != shift {
				shift = now
				stepped()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// journalSystem is what the journal stands on: a disk that the lab makes slow, or fail.
func journalSystem() journal.System {
	if faults == nil {
		return journal.System{}
	}
	return journal.System{
		Update: func(db *bolt.DB, change func(*bolt.Tx) error) error {
			return faults.Commit(func(fail error) error {
				return db.Update(func(tx *bolt.Tx) error {
					if err := change(tx); err != nil {
						return err
					}
					return fail
				})
			})
		},
		Disk: durable.Disk{Step: faults.Step},
	}
}
