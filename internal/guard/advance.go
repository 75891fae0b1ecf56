package guard

import (
	"slices"
	"time"
)

// advance takes the time that has passed, and what the sources say now, into the state. It returns the wall clock, and
// whether more than time has changed. The caller holds mu.
func (g *Clock) advance() (now time.Time, changed bool) {
	now = g.opts.Now().Round(0) // the wall clock alone
	elapsed := g.opts.Elapsed()
	passed := max(elapsed-g.last, 0)
	g.last = elapsed
	st := &g.state
	st.Used = max(0, st.Used-regain*passed)
	if st.Known != nil {
		st.Known.pass(passed)
	}
	for i := range st.Claims {
		st.Claims[i].pass(passed)
	}
	changed = g.claim(now)
	changed = g.prove() || changed
	changed = g.vouch(now) || changed
	changed = g.learn(now) || changed
	changed = g.lower(now, passed) || g.follow(now) || changed
	return now, g.claim(now) || changed // what lies beyond a time that has just become known
}

func (l *level) pass(d time.Duration) { l.At, l.Ran = l.At.Add(d), l.Ran+d }

// claim takes in what the wall clock says beyond what is known, and drops the claims that it no longer keeps to.
func (g *Clock) claim(now time.Time) (changed bool) {
	st := &g.state
	before := len(st.Claims)
	st.Claims = slices.DeleteFunc(st.Claims, func(l level) bool { return l.At.After(now.Add(slack)) })
	top := st.Known
	if n := len(st.Claims); n > 0 {
		top = &st.Claims[n-1]
	}
	if top == nil || now.Sub(top.At) > slack {
		if len(st.Claims) == maxClaims {
			st.Claims = st.Claims[:maxClaims-1]
		}
		st.Claims = append(st.Claims, level{At: now})
		return true
	}
	return len(st.Claims) != before
}

// prove makes known what the wall clock has kept to for long enough, unless others contradict it.
func (g *Clock) prove() (changed bool) {
	st := &g.state
	for i := len(st.Claims) - 1; i >= 0; i-- {
		c := &st.Claims[i]
		if c.Ran < Proof {
			continue
		}
		changed = true
		if agreed := g.agreed(g.last - c.Ran); !agreed.IsZero() && agreed.Before(c.At.Add(-slack)) {
			c.Ran = 0
			continue
		}
		g.know(c.At)
		break
	}
	return changed
}

// vouch believes a synchronised kernel, once after a time off, as far as it reaches.
func (g *Clock) vouch(now time.Time) bool {
	st := &g.state
	if !g.wasOff || st.Known == nil || !g.opts.Synced() {
		return false
	}
	g.wasOff = false
	off := now.Sub(st.Known.At)
	if off <= slack || off > Reach-st.Used {
		return false
	}
	st.Used += off
	g.know(now)
	return true
}

// learn believes the wall clock as far as others agreed on it.
func (g *Clock) learn(now time.Time) bool {
	at := earlier(now, g.agreed(0))
	if k := g.state.Known; at.IsZero() || k != nil && !at.After(k.At.Add(slack)) {
		return false
	}
	g.know(at)
	return true
}

// lower believes a synchronised kernel that has long been behind what is known, unless others contradict it.
func (g *Clock) lower(now time.Time, passed time.Duration) bool {
	st := &g.state
	if st.Known == nil || !now.Before(st.Known.At.Add(-slack)) {
		st.Back = 0
		return false
	}
	if !g.opts.Synced() {
		return false
	}
	if st.Back += passed; st.Back < Proof || g.agreed(0).After(now.Add(slack)) {
		return false
	}
	g.know(now)
	return true
}

// follow keeps the known time to a wall clock that goes a little slower or faster.
func (g *Clock) follow(now time.Time) bool {
	st := &g.state
	if st.Known == nil || st.Known.Ran < Proof || len(st.Claims) > 0 || now.Sub(st.Known.At).Abs() > slack {
		return false
	}
	g.know(now)
	return true
}

// know makes a time known and drops what was claimed up to it.
func (g *Clock) know(at time.Time) {
	st := &g.state
	st.Known, st.Back = &level{At: at}, 0
	st.Claims = slices.DeleteFunc(st.Claims, func(l level) bool { return !l.At.After(at.Add(slack)) })
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
