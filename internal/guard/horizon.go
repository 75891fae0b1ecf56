package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// Ways in which the wall clock can be in doubt.
const (
	Ahead  = "ahead"  // of what is known
	Behind = "behind" // what is known
)

// Horizon is what a look at the clock says.
type Horizon struct {
	Now   time.Time     // by the wall clock
	Known time.Time     // what is known by other means, zero if nothing is
	By    time.Time     // days due by then may be destroyed; Now, unless the clock is in doubt
	Doubt string        // Ahead or Behind; empty for a clock that is believed
	Left  time.Duration // of running, until a clock that is ahead is believed
}

// Held reports whether the wall clock is in doubt.
func (h Horizon) Held() bool { return h.Doubt != "" }

// Latest is the latest that it may be, by any clock.
func (h Horizon) Latest() time.Time {
	if h.Known.After(h.Now) {
		return h.Known
	}
	return h.Now
}

// Earliest is the earliest that it may be, by any clock.
func (h Horizon) Earliest() time.Time {
	if h.Known.IsZero() || h.Now.Before(h.Known) {
		return h.Now
	}
	return h.Known
}

// Split returns which of these days are to be destroyed, and which are due by one clock alone; both in order, each day
// once. day.Day.DestroyAt says when a day is due.
func (h Horizon) Split(days []day.Day) (due, held []day.Day) {
	days = slices.Clone(days)
	slices.Sort(days)
	for _, d := range slices.Compact(days) {
		switch at := d.DestroyAt(); {
		case !h.By.Before(at):
			due = append(due, d)
		case !h.Latest().Before(at):
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
	wait := "until an operator confirms that the clock is right, or it is put right"
	if h.Doubt == Ahead {
		wait = fmt.Sprintf("until the program has run %v longer, or an operator confirms that the clock is right", h.Left.Round(time.Second))
	}
	return fmt.Errorf("%w: it says %s, and %s is known; %d days, from %v to %v, wait %s",
		ErrHeldBack, told(h.Now), told(h.Known), len(held), held[0], held[len(held)-1], wait)
}

func told(t time.Time) string {
	if t.IsZero() {
		return "nothing"
	}
	return t.In(day.Seoul()).Format(time.RFC3339)
}

// Kept is the oldest day of which anything is kept: what an auditor asks first.
type Kept struct {
	Day     day.Day
	Overdue time.Duration // since it should have been destroyed by the latest clock, 0 if its time has not come
}

// Oldest returns the oldest of the days that are kept; ok is false if there is none.
func (h Horizon) Oldest(days []day.Day) (k Kept, ok bool) {
	if len(days) == 0 {
		return Kept{}, false
	}
	k.Day = slices.Min(days)
	k.Overdue = max(0, h.Latest().Sub(k.Day.DestroyAt()))
	return k, true
}

// Metrics tells of the oldest day that a party keeps in Prometheus' text format, version 0.0.4: how old it is by the latest
// clock, and for how long it is overdue.
func (h Horizon) Metrics(party string, days []day.Day) string {
	age, overdue := 0.0, 0.0
	if k, ok := h.Oldest(days); ok {
		age, overdue = h.Latest().Sub(k.Day.Start()).Seconds(), k.Overdue.Seconds()
	}
	var b strings.Builder
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"oldest_kept_seconds", "Since the beginning of the oldest day of which anything is kept, 0 if nothing is.", age},
		{"overdue_seconds", "For how long the oldest day that is kept should have been destroyed.", overdue},
		{"clock_in_doubt", "1 while clocks differ and destruction goes by what two of them bear out.", bit(h.Held())},
	} {
		name := "kipass_" + party + "_" + m.name
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n%s %g\n", name, m.help, name, name, m.value)
	}
	return b.String()
}

// MetricsType is the media type of [Horizon.Metrics].
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

func bit(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
