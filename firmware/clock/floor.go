package clock

import "time"

// floor is a lower bound of real time, made of what several sources support. It never sinks.
type floor struct {
	known  time.Time            // from before the restart; one issuer may have pushed it by issuerReach
	newest map[string]time.Time // source → newest time it supports
	at     time.Time            // with one issuer's reach
	sure   time.Time            // without
}

func newFloor(known time.Time) floor {
	return floor{known: known, newest: map[string]time.Time{}, at: known, sure: known.Add(-issuerReach)}
}

// support takes in that source vouches for real time being at least t.
func (f *floor) support(source string, t time.Time) {
	if t = t.Round(0); t.After(f.newest[source]) {
		f.newest[source] = t
		f.raise()
	}
}

// raise computes the bound from the newest and the second newest time supported: the first may reach past the second by
// issuerReach if it is an issuer's, and as far as it likes if it is not.
func (f *floor) raise() {
	var first, second time.Time
	second = f.known
	var lead string
	for source, t := range f.newest {
		switch {
		case t.After(first):
			if first.After(second) {
				second = first
			}
			first, lead = t, source
		case t.After(second):
			second = t
		}
	}
	if lead == sourceKernel || lead == sourceServer {
		second = first
	}
	if reach := second.Add(issuerReach); first.After(reach) {
		first = reach
	}
	if first.After(f.at) {
		f.at = first
	}
	if sure := second; sure.After(f.sure) && sure != f.known {
		f.sure = sure
	}
}

// time returns the bound.
func (f *floor) time() time.Time { return f.at }

// under returns the bound for codes of source: what is confirmed, and what it vouches for itself as far as it reaches.
func (f *floor) under(source string) time.Time {
	own := f.newest[source]
	if own.After(f.at) {
		own = f.at
	}
	if own.After(f.sure) {
		return own
	}
	return f.sure
}

// confirmed returns the bound that no issuer alone can have set.
func (f *floor) confirmed() time.Time { return f.sure }
