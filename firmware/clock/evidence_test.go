package clock

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// Votes are written as "source from to" in seconds after noon.
func TestAgreement(t *testing.T) {
	for rule, c := range map[string]struct {
		votes []string
		want  string // "sources from to", empty for no agreement
	}{
		"nobody says anything":                      {nil, ""},
		"one alone is only its own word":            {[]string{"kernel 0 4"}, ""},
		"two that overlap agree on what they share": {[]string{"kernel 0 4", "naver 2 9"}, "kernel,naver 2 4"},
		"two that touch":                            {[]string{"server 0 4", "naver 4 9"}, "server,naver 4 4"},
		"two that do not":                           {[]string{"server 0 4", "naver 5 9"}, ""},
		"the most win": {
			[]string{"server 900 904", "kernel 902 906", "naver 0 9", "kakao 1 8", "pass 2 10"},
			"naver,kakao,pass 2 8",
		},
		"one falseticker changes nothing": {
			[]string{"naver 0 9", "rogue 5000 5009", "kakao 4 12"},
			"naver,kakao 4 9",
		},
		"of as many on both sides none": {
			[]string{"naver 0 9", "kakao 0 9", "server 99 101", "pass 98 105", "kernel 500 504", "rogue 501 509"},
			"",
		},
		"a wide one in two groups is of the larger one": {
			[]string{"naver 0 100", "kakao 0 5", "pass 90 95", "toss 91 96"},
			"naver,pass,toss 91 95",
		},
	} {
		var votes []vote
		for _, text := range c.votes {
			var v vote
			var from, to int
			if _, err := fmt.Sscan(text, &v.source, &from, &to); err != nil {
				t.Fatal(err)
			}
			v.from, v.to = noon.Add(time.Duration(from)*time.Second), noon.Add(time.Duration(to)*time.Second)
			votes = append(votes, v)
		}
		got := ""
		if a := agree(votes); a.holds() {
			got = fmt.Sprintf("%s %v %v", strings.Join(a.sources, ","), a.from.Sub(noon).Seconds(), a.to.Sub(noon).Seconds())
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", rule, got, c.want)
		}
	}
}

func TestWitness(t *testing.T) {
	type code struct{ read, iat int } // seconds
	for rule, c := range map[string]struct {
		codes []code
		at    int
		from  int // where it puts the zero, in seconds, without the margins
		to    int
		ok    bool
	}{
		"no code":                     {},
		"one code proves nothing":     {codes: []code{{10, 10}}, at: 10},
		"the same code twice neither": {codes: []code{{10, 10}, {20, 10}}, at: 20},
		"nor the same two again": {
			codes: []code{{10, 10}, {12, 12}, {90, 10}, {91, 12}},
			at:    91, from: 0, to: 15, ok: true,
		},
		"two fresh ones": {
			codes: []code{{10, 7}, {20, 18}},
			at:    20, from: -2, to: 12, ok: true,
		},
		"an old one and a fresh one do not agree": {codes: []code{{100, 10}, {110, 109}}, at: 110},
		"a second fresh one speaks again": {
			codes: []code{{100, 10}, {110, 109}, {120, 118}},
			at:    120, from: -1, to: 13, ok: true,
		},
		"one made ahead silences": {
			codes: []code{{10, 9}, {20, 19}, {30, 900}},
			at:    30,
		},
		"for one more code": {
			codes: []code{{10, 9}, {20, 19}, {30, 900}, {40, 39}},
			at:    40,
		},
		"and no longer": {
			codes: []code{{10, 9}, {20, 19}, {30, 900}, {40, 39}, {50, 48}},
			at:    50, from: -1, to: 13, ok: true,
		},
		"two as old as each other agree, on the past": {
			codes: []code{{100, 10}, {110, 19}},
			at:    110, from: -90, to: -76, ok: true,
		},
		"it is remembered for twelve hours": {
			codes: []code{{10, 9}, {20, 19}},
			at:    20 + 12*3600, from: -1, to: 14, ok: true,
		},
		"and not longer": {
			codes: []code{{10, 9}, {20, 19}},
			at:    21 + 12*3600,
		},
	} {
		w := witness{issuer: "naver"}
		second := func(n int) time.Duration { return time.Duration(n) * time.Second }
		for _, code := range c.codes {
			w.hear(noon.Add(second(code.iat)), second(code.read))
		}
		v, ok := w.vote(second(c.at))
		if ok != c.ok || ok && (!v.from.Equal(noon.Add(second(c.from)-margin)) || !v.to.Equal(noon.Add(second(c.to)+margin))) {
			t.Errorf("%s: %v %v to %v, want %v %d to %d", rule, ok, v.from.Sub(noon), v.to.Sub(noon), c.ok, c.from, c.to)
		}
	}
}

// Who is believed against whom.
func TestEvidence(t *testing.T) {
	const (
		s, h                         = time.Second, time.Hour
		trusted, holdover, untrusted = visit.ClockSynced, visit.ClockHoldover, visit.ClockUntrusted
	)
	type act = func(w *fixture, c *Clock)
	synced := func(off time.Duration) act {
		return func(w *fixture, c *Clock) { w.wall, w.kernel.MaxError = w.real.Add(off), 0; c.Read() }
	}
	lost := func(w *fixture, _ *Clock) { w.kernel.MaxError = unsynced }
	server := func(off time.Duration) act {
		return func(w *fixture, c *Clock) { c.ServerTime(w.real.Add(off), 0) }
	}
	says := func(issuer string, off time.Duration) act {
		return func(w *fixture, c *Clock) { w.says(c, issuer, off) }
	}
	pass := func(d time.Duration) act { return func(w *fixture, _ *Clock) { w.pass(d) } }
	for rule, c := range map[string]struct {
		acts      []act
		state     visit.ClockState
		off       time.Duration // of the reading from real time
		confirmed bool
		doubt     string
	}{
		"two issuers late of a clock in holdover": {
			[]act{synced(0), lost, says("naver", -40*s), says("kakao", -40*s)},
			untrusted, -33 * s, false, "kernel: 20s ahead of what is said by kakao, naver",
		},
		"two issuers ahead of it": {
			[]act{synced(0), lost, says("naver", 40*s), says("kakao", 40*s)},
			untrusted, 47 * s, false, "kernel: 40s behind what is said by",
		},
		"one issuer, and another the other way": {
			[]act{synced(0), lost, says("naver", 40*s), says("kakao", -40*s)},
			holdover, 0, false, "",
		},
		"one issuer, however often": {
			[]act{synced(0), lost, says("naver", h), says("naver", h), says("naver", h)},
			holdover, 0, false, "",
		},
		"two issuers against the server": {
			[]act{server(40 * s), says("naver", 0), says("kakao", 0)},
			untrusted, 7 * s, false, "server: 20s ahead",
		},
		"until the server has been put right": {
			[]act{server(40 * s), says("naver", 0), says("kakao", 0), server(0)},
			trusted, 0, true, "",
		},
		"not when it says the same again": {
			[]act{server(h), says("naver", 0), says("kakao", 0), server(h)},
			untrusted, 7 * s, false, "server: 1h0m0s ahead",
		},
		"nor after an hour of the same": {
			[]act{server(h), says("naver", 0), says("kakao", 0), pass(2 * h), server(h)},
			untrusted, 7 * s, false, "server: 1h0m0s ahead",
		},
		"one issuer against the server": {
			[]act{server(0), says("rogue", h)},
			trusted, 0, false, "",
		},
		"a rogue issuer and an honest one": {
			[]act{server(0), says("rogue", h), says("naver", 0)},
			trusted, 0, true, "",
		},
		"two issuers against a kernel: told, not obeyed": {
			[]act{synced(-40 * s), says("naver", 0), says("kakao", 0)},
			trusted, -40 * s, false, "kernel: 40s behind",
		},
		"beyond an hour it is not believed": {
			[]act{synced(9 * h), says("naver", 0), says("kakao", 0)},
			untrusted, 7 * s, false, "kernel: 9h0m0s ahead",
		},
		"one issuer against a kernel": {
			[]act{synced(0), says("rogue", 99*h)},
			trusted, 0, false, "",
		},
		"the server and an issuer against a kernel": {
			[]act{server(0), synced(9 * h), says("naver", 0)},
			untrusted, 0, false, "kernel: 9h0m0s ahead",
		},
		"then it goes by the server": {
			[]act{server(0), synced(9 * h), says("naver", 0), server(0)},
			trusted, 0, true, "kernel: 9h0m0s ahead",
		},
		"the server alone against a kernel: told": {
			[]act{server(40 * s), synced(0)},
			trusted, 0, false, "kernel: 40s behind what is said by server",
		},
		"a server that differs little is not spoken of": {
			[]act{server(20 * s), synced(0)},
			trusted, 0, false, "",
		},
		"a kernel years ahead of what was known here": {
			[]act{server(0), says("naver", 0), pass(24 * h), synced(87600 * h)},
			untrusted, 0, false, "further ahead of what was known",
		},
		"a server that jumps from what two had agreed on": {
			[]act{server(0), says("naver", 0), pass(60 * s), server(72 * h)},
			trusted, 0, false, "server: 72h0m0s further ahead of what was known",
		},
		"either way": {
			[]act{server(0), says("naver", 0), pass(60 * s), server(-h)},
			trusted, 0, false, "server: 1h0m0s behind",
		},
		"a server that jumps from its own word alone": {
			[]act{server(72 * h), server(0)},
			trusted, 0, false, "",
		},
		"a kernel that corrects itself": {
			[]act{synced(99 * h), synced(0)},
			trusted, 0, false, "",
		},
		"kernel and server confirm each other": {
			[]act{server(s), synced(0)},
			trusted, 0, true, "",
		},
		"two issuers confirm a clock in holdover": {
			[]act{synced(0), lost, says("naver", 0), says("kakao", 0)},
			holdover, 0, true, "",
		},
		"running time confirms a kernel long after others did": {
			[]act{server(0), synced(0), pass(29 * 24 * h), synced(0)},
			trusted, 0, true, "",
		},
		"not one that has left it": {
			[]act{server(0), synced(0), pass(29 * 24 * h), synced(h / 2)},
			trusted, h / 2, false, "",
		},
		"not one that nobody ever confirmed": {
			[]act{synced(0), pass(29 * 24 * h), synced(0)},
			trusted, 0, false, "",
		},
		"nor one that somebody contradicts now": {
			[]act{server(0), synced(0), pass(29 * 24 * h), synced(0), server(h / 2)},
			trusted, 0, false, "kernel: 30m0s behind",
		},
		"nor while two agree on something else": {
			[]act{server(0), synced(0), pass(29 * 24 * h), synced(0), says("naver", -40*s), says("kakao", -40*s)},
			trusted, 0, false, "kernel: 20s ahead",
		},
	} {
		t.Run(rule, func(t *testing.T) {
			w := newFixture()
			clock := New(w.options())
			for _, act := range c.acts {
				act(w, clock)
			}
			r := clock.Read()
			if r.State != c.state || r.Now.Sub(w.real.Add(c.off)).Abs() > 3*time.Second || r.Confirmed != c.confirmed {
				t.Errorf("%v, %v off, confirmed %v (%s); want %v, %v off, confirmed %v",
					r.State, r.Now.Sub(w.real), r.Confirmed, r.Source, c.state, c.off, c.confirmed)
			}
			if (r.Doubt == "") != (c.doubt == "") || !strings.Contains(r.Doubt, c.doubt) {
				t.Errorf("doubt %q, want %q", r.Doubt, c.doubt)
			}
		})
	}
}

// What was agreed on before a restart says nothing of the time off, and confirms no clock after it.
func TestARestartEndsWhatRunningTimeConfirms(t *testing.T) {
	w := newFixture()
	opts := w.options()
	opts.Floor = noon.Add(-time.Second)
	w.kernel.MaxError = 0
	if r := New(opts).Read(); r.State != visit.ClockSynced || r.Confirmed {
		t.Errorf("%v, confirmed %v", r.State, r.Confirmed)
	}
}

func TestFloor(t *testing.T) {
	const h = time.Hour
	for rule, c := range map[string]struct {
		note time.Duration // from before the restart, off real time
		act  func(w *fixture, c *Clock)
		want time.Duration // off real time
	}{
		"what was known before the restart goes on": {-9 * h, func(w *fixture, c *Clock) {
			w.pass(h)
		}, -9 * h},
		"one issuer does not raise it": {-9 * h, func(w *fixture, c *Clock) {
			w.says(c, "naver", 0)
		}, -9 * h},
		"nor lower it": {-9 * h, func(w *fixture, c *Clock) {
			w.says(c, "naver", -99*h)
		}, -9 * h},
		"two raise it": {-9 * h, func(w *fixture, c *Clock) {
			w.says(c, "naver", 0)
			w.says(c, "kakao", 0)
		}, 0},
		"two lower it": {9 * h, func(w *fixture, c *Clock) {
			w.says(c, "naver", 0)
			w.says(c, "kakao", 0)
		}, 0},
		"two of which one dates ahead do not": {9 * h, func(w *fixture, c *Clock) {
			w.says(c, "naver", 0)
			w.says(c, "rogue", h)
		}, 9 * h},
		"two sides as large let it sink to the earlier": {9 * h, func(w *fixture, c *Clock) {
			c.ServerTime(w.real.Add(8*h), 0)
			w.says(c, "rogue", 8*h)
			w.says(c, "naver", 0)
			w.says(c, "kakao", 0)
		}, 0},
		"the server does not raise it alone": {-9 * h, func(w *fixture, c *Clock) {
			c.ServerTime(w.real.Add(72*h), 0)
		}, -9 * h},
		"nor does it lower it": {9 * h, func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
		}, 9 * h},
		"the server and an issuer do": {9 * h, func(w *fixture, c *Clock) {
			c.ServerTime(w.real, 0)
			w.says(c, "naver", 0)
		}, 0},
		"a synced kernel lowers it": {9 * h, func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
		}, 0},
		"but does not raise it alone": {-9 * h, func(w *fixture, c *Clock) {
			w.kernel.MaxError = 0
			c.Read()
			w.kernel.MaxError = unsynced
		}, -9 * h},
		"not even a kernel years ahead, by an issuer": {-9 * h, func(w *fixture, c *Clock) {
			w.wall = w.wall.Add(90000 * h)
			w.kernel.MaxError = 0
			w.says(c, "naver", 0)
		}, -9 * h},
	} {
		t.Run(rule, func(t *testing.T) {
			w := newFixture()
			w.wall = noon.Add(-1000 * h)
			opts := w.options()
			opts.Floor = noon.Add(c.note)
			clock := New(opts)
			w.wall = w.real
			c.act(w, clock)
			r := clock.Read()
			known := clock.known.at(w.mono)
			if known.Sub(w.real.Add(c.want)).Abs() > 15*time.Second {
				t.Errorf("floor is %v off real time, want %v", known.Sub(w.real), c.want)
			}
			if r.Floor.After(r.Now) {
				t.Errorf("the time read, %v, is before the floor %v", r.Now, r.Floor)
			}
		})
	}
}

func TestAnIssuerDatingAheadShutsOutItselfOnly(t *testing.T) {
	w := newFixture()
	opts := w.options()
	opts.Floor = noon
	c := New(opts)
	w.pass(10 * time.Minute)
	w.says(c, "rogue", 48*time.Hour)
	if !c.MayBeFresh("honest", w.real) {
		t.Fatal("an honest issuer's code is shut out by another's false dates")
	}
	if c.MayBeFresh("rogue", w.real) {
		t.Fatal("an issuer's code from long before its newest is taken as possibly fresh")
	}
	c.Evidence("rogue", w.real, 0)
	if !c.MayBeFresh("rogue", w.real) {
		t.Fatal("an issuer that dates rightly again is shut out by its past")
	}
	w.says(c, "honest", 0)
	w.says(c, "other", 0)
	for _, row := range []struct {
		age  time.Duration
		want bool
	}{{0, true}, {45 * time.Second, true}, {50 * time.Second, false}, {time.Hour, false}} {
		if got := c.MayBeFresh("third", w.real.Add(-row.age)); got != row.want {
			t.Errorf("code %v old: may be fresh %v, want %v", row.age, got, row.want)
		}
	}
	w.pass(time.Hour) // what is known goes on with the running time
	if c.MayBeFresh("third", w.real.Add(-time.Minute)) || !c.MayBeFresh("third", w.real) {
		t.Error("an hour later a code of a minute may be fresh, or a new one may not")
	}
}

// What is known of the time is handed on, so that it can outlive the clock: upwards and downwards.
func TestEvidenceIsHandedOn(t *testing.T) {
	w := newFixture()
	opts := w.options()
	var told []time.Duration
	opts.OnEvidence = func(floor time.Time) { told = append(told, floor.Sub(w.real).Round(10*time.Second)) }
	c := New(opts)
	w.says(c, "naver", 0)
	if len(told) != 0 {
		t.Errorf("told %v on one issuer's word", told)
	}
	w.says(c, "kakao", 0)
	w.says(c, "naver", -time.Hour)
	w.says(c, "kakao", -time.Hour)
	want := []time.Duration{0, 0, 0, 0, -time.Hour}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
