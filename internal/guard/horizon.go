package guard

import (
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// Horizon is what a look at the clock says.
type Horizon struct {
	Now  time.Time     // by the wall clock
	By   time.Time     // days due by then may be destroyed; Now, unless the clock is in doubt
	Left time.Duration // of running without a jump, until a clock in doubt is believed; 0 for one that is not
}

// Held reports whether the wall clock is in doubt.
func (h Horizon) Held() bool { return h.Left > 0 }

// Split returns which of these days are to be destroyed, and which are due by the wall clock alone; both in order, each
// day once. day.Day.DestroyAt says when a day is due.
func (h Horizon) Split(days []day.Day) (due, held []day.Day) {
	days = slices.Clone(days)
	slices.Sort(days)
	for _, d := range slices.Compact(days) {
		switch at := d.DestroyAt(); {
		case !h.By.Before(at):
			due = append(due, d)
		case !h.Now.Before(at):
			held = append(held, d)
		}
	}
	return due, held
}

// HeldBack returns an error wrapping [ErrHeldBack] about days that Split held back, nil for none.
func (h Horizon) HeldBack(held []day.Day) error {
	if len(held) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it says %s; %d days, from %v to %v, wait until the program has run %v longer, or an operator confirms that the clock is right",
		ErrHeldBack, h.Now.In(day.Seoul()).Format(time.RFC3339), len(held), held[0], held[len(held)-1], h.Left.Round(time.Second))
}
