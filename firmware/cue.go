package firmware

import (
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/sounds"
	"github.com/kipass/kipass/visit"
)

// hold is how long an outcome stays before the gate invites the next visitor.
const hold = 2500 * time.Millisecond

// signs says what each outcome does to lights and relay. It is the only place where an outcome becomes an action.
var signs = map[visit.Outcome]struct {
	light drivers.Light
	relay bool
}{
	visit.Admitted:      {drivers.Green, true},
	visit.AdmittedAgain: {drivers.Green, true},
	visit.Expired:       {drivers.Amber, false},
	visit.NotYetValid:   {drivers.Amber, false},
	visit.NotACode:      {drivers.Amber, false},
	visit.UnknownIssuer: {drivers.Red, false},
	visit.NotGenuine:    {drivers.Red, false},
	visit.OutOfService:  {drivers.Red, false},
}

// cueOf returns what the devices of a lane do for an outcome. began is when the last byte of the frame arrived.
func cueOf(o visit.Outcome, lane string, began time.Time, languages []string) drivers.Cue {
	s := signs[o]
	return drivers.Cue{Light: s.light, Relay: s.relay, Hold: hold, Clips: sounds.ClipNames(o, languages...), Lane: lane, Began: began}
}
