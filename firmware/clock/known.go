package clock

import "time"

// known is the last time on which two independent sources agreed, as the earliest zero they allowed. It goes on with the
// monotonic clock, and outlives a restart as a time that had passed by then.
type known struct {
	zero time.Time     // zero if nothing is known
	mono time.Duration // when it was agreed upon
	here bool          // since the start: the time off, of which nothing is known, is no part of it
}

// at returns the time that has passed for certain at mono, zero if nothing is known.
func (k known) at(mono time.Duration) time.Time {
	if k.zero.IsZero() {
		return time.Time{}
	}
	return k.zero.Add(mono)
}

// drift is the uncertainty that has grown since.
func (k known) drift(mono time.Duration) time.Duration { return (mono - k.mono) / 1_000_000 * Drift }

// learn takes in what sources agree on, upwards and downwards. While that is disputed it goes down to what the earlier
// side says, not up: to refuse every code for being late is worse than to know less.
func (k *known) learn(a agreement, mono time.Duration) {
	switch {
	case len(a.sources) < 2, a.disputed && !k.zero.After(a.from):
		return
	case !k.here, a.beyond(k.zero) != 0:
		k.zero = a.from
	}
	k.mono, k.here = mono, true
}

// lower takes in that it is not later than zero by a kernel that is synced, for want of an agreement.
func (k *known) lower(zero time.Time, mono time.Duration) {
	if limit := zero.Add(-margin); k.zero.After(limit.Add(k.drift(mono))) {
		*k = known{zero: limit, mono: mono}
	}
}

// ahead returns by how much zero is further ahead than one source alone is believed, reach being how far that is in a run
// in which the time was known; 0 if it is not.
func (k known) ahead(zero time.Time, reach, mono time.Duration) time.Duration {
	if k.zero.IsZero() {
		return 0
	}
	if !k.here {
		reach = offReach
	}
	return max(0, zero.Sub(k.zero)-reach-k.drift(mono))
}

// bears tells whether a clock that puts the zero there has kept to what was agreed on since the start, by running time.
func (k known) bears(zero time.Time, mono time.Duration) bool {
	return k.here && zero.Sub(k.zero).Abs() <= MaxSkew+k.drift(mono)
}

// behind returns by how much zero is before what is known for certain; 0 if it is not.
func (k known) behind(zero time.Time, mono time.Duration) time.Duration {
	if k.zero.IsZero() {
		return 0
	}
	return max(0, k.zero.Sub(zero)-k.drift(mono))
}
