package firmware

import (
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// An outcome stays before the gate invites the next visitor until its words have been said, so that nothing changes before
// somebody who listens or reads: no shorter than holdLeast, and a moment longer than the sound. The next outcome takes its
// place at once.
const (
	holdLeast  = 2500 * time.Millisecond
	holdMost   = 10 * time.Second // drivers.Cue
	holdBeyond = 250 * time.Millisecond
)

// holdOf returns how long an outcome with these clips stays.
func holdOf(clips []string, length func(clip string) time.Duration) time.Duration {
	hold := holdBeyond
	for _, name := range clips {
		hold += length(name)
	}
	return min(max(hold, holdLeast), holdMost)
}

// lights says which light tells a signal.
var lights = map[visit.Signal]drivers.Light{
	visit.SignalGreen: drivers.Green, visit.SignalAmber: drivers.Amber, visit.SignalRed: drivers.Red,
}

// cueOf returns what the devices of a lane do for an outcome: the only place where an outcome becomes an action. began is
// when the last byte of the frame arrived. The relay is pulsed once for a code: when it is admitted.
func (g *Gate) cueOf(o visit.Outcome, lane string, began, by time.Time) drivers.Cue {
	clips := sounds.ClipNames(o, g.opts.Languages...)
	return drivers.Cue{
		Light: lights[o.Signal()], Relay: o == visit.Admitted, Hold: holdOf(clips, g.opts.ClipLength), Clips: clips, Lane: lane,
		Began: began, By: by,
	}
}
