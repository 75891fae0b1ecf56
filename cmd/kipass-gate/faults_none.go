//go:build !kipasslab

package main

import (
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/journal"
)

// clockSources are where the gate has its time from: the system.
func clockSources() clock.Options { return clock.Options{} }

// journalSystem is what the journal stands on: the system.
func journalSystem() journal.System { return journal.System{} }
