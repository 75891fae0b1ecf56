package firmware

import (
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// hold is how long an outcome stays before the gate invites the next visitor.
const hold = 2500 * time.Millisecond

// lights says which light tells a signal.
var lights = map[visit.Signal]drivers.Light{
	visit.SignalGreen: drivers.Green, visit.SignalAmber: drivers.Amber, visit.SignalRed: drivers.Red,
}

// cueOf returns what the devices of a lane do for an outcome: the only place where an outcome becomes an action. began is
// when the last byte of the frame arrived. The relay is pulsed once for a code: when it is admitted.
func cueOf(o visit.Outcome, lane string, began, by time.Time, languages []string) drivers.Cue {
	return drivers.Cue{
		Light: lights[o.Signal()], Relay: o == visit.Admitted, Hold: hold, Clips: sounds.ClipNames(o, languages...), Lane: lane,
		Began: began, By: by,
	}
}
