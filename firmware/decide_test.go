package firmware

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

func TestDecide(t *testing.T) {
	good := Facts{InService: true, Authenticity: Genuine, Freshness: token.Fresh, Durable: true}
	with := func(change func(*Facts)) Facts { f := good; change(&f); return f }
	for rule, c := range map[string]struct {
		facts Facts
		want  visit.Outcome
	}{
		"genuine, fresh, new and durable is admitted":       {good, visit.Admitted},
		"without a durable record nothing is green":         {with(func(f *Facts) { f.Durable = false }), visit.OutOfService},
		"seen a moment ago is admitted again":               {with(func(f *Facts) { f.Seen, f.Recent = true, true }), visit.AdmittedAgain},
		"seen before is used":                               {with(func(f *Facts) { f.Seen = true }), visit.CodeUsed},
		"recent alone says nothing":                         {with(func(f *Facts) { f.Recent = true }), visit.Admitted},
		"seen before needs no record of its own":            {with(func(f *Facts) { f.Seen, f.Durable = true, false }), visit.CodeUsed},
		"nor does what was seen a moment ago":               {with(func(f *Facts) { f.Seen, f.Recent, f.Durable = true, true, false }), visit.AdmittedAgain},
		"seen before but expired is expired":                {with(func(f *Facts) { f.Seen, f.Recent, f.Freshness = true, true, token.Expired }), visit.Expired},
		"too old is expired":                                {with(func(f *Facts) { f.Freshness = token.Expired }), visit.Expired},
		"from the future is not yet valid":                  {with(func(f *Facts) { f.Freshness = token.NotYetValid }), visit.NotYetValid},
		"a key outside the trust list is an unknown issuer": {with(func(f *Facts) { f.Authenticity = UnknownIssuer }), visit.UnknownIssuer},
		"a wrong signature is not genuine":                  {with(func(f *Facts) { f.Authenticity = NotGenuine }), visit.NotGenuine},
		"anything else is not a code":                       {with(func(f *Facts) { f.Authenticity = NotACode }), visit.NotACode},
		"out of service comes before everything":            {with(func(f *Facts) { f.InService = false }), visit.OutOfService},
		"out of service even for garbage":                   {Facts{Authenticity: NotACode}, visit.OutOfService},
		"no facts at all are out of service":                {Facts{}, visit.OutOfService},
		"a reading that does not exist is not genuine":      {with(func(f *Facts) { f.Authenticity = 99 }), visit.NotGenuine},
		"a freshness that does not exist counts as expired": {with(func(f *Facts) { f.Freshness = 99 }), visit.Expired},
	} {
		if got := Decide(c.facts); got != c.want {
			t.Errorf("%s: %+v gives %v, want %v", rule, c.facts, got, c.want)
		}
	}
}

// Over every combination of facts: green has exactly the causes it may have.
func TestDecideGreenOnlyWithARecord(t *testing.T) {
	greens := 0
	for bits := range 16 {
		for reading := range Authenticity(5) {
			for fresh := range token.Freshness(4) {
				f := Facts{
					InService: bits&1 != 0, Seen: bits&2 != 0, Durable: bits&4 != 0, Recent: bits&8 != 0,
					Authenticity: reading, Freshness: fresh,
				}
				o := Decide(f)
				if !o.Green() {
					continue
				}
				greens++
				if !f.InService || f.Authenticity != Genuine || f.Freshness != token.Fresh || !(f.Seen && f.Recent) && !(f.Durable && !f.Seen) {
					t.Errorf("%+v gives green %v", f, o)
				}
			}
		}
	}
	if greens != 4 {
		t.Errorf("%d combinations are green, want 4: new and durable, or seen a moment ago, the other fact being either", greens)
	}
}

func TestAuthenticityOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Authenticity
	}{
		{nil, Genuine},
		{fmt.Errorf("x: %w", token.ErrNotACode), NotACode},
		{fmt.Errorf("x: %w", token.ErrUnknownIssuer), UnknownIssuer},
		{fmt.Errorf("x: %w", token.ErrNotGenuine), NotGenuine},
		{errors.New("anything else"), NotACode},
	} {
		if got := authenticityOf(c.err); got != c.want {
			t.Errorf("authenticityOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestCueOfEveryOutcome(t *testing.T) {
	want := map[visit.Outcome]drivers.Light{ // the table of outcomes
		visit.Admitted: drivers.Green, visit.AdmittedAgain: drivers.Green,
		visit.CodeUsed: drivers.Amber, visit.Expired: drivers.Amber, visit.NotYetValid: drivers.Amber, visit.NotACode: drivers.Amber,
		visit.UnknownIssuer: drivers.Red, visit.NotGenuine: drivers.Red, visit.OutOfService: drivers.Red,
	}
	gate := New(Options{Languages: []string{"ko", "en"}})
	for _, o := range visit.Outcomes() {
		c := gate.cueOf(o, "front", time.Time{}, time.Time{})
		if c.Light != want[o] || c.Light == drivers.Dark || c.Lane != "front" {
			t.Errorf("%v: cue %+v, want light %v", o, c, want[o])
		}
		if c.Relay != (o == visit.Admitted) { // once for a code
			t.Errorf("%v: relay %v", o, c.Relay)
		}
		if len(c.Clips) != 3 {
			t.Errorf("%v: clips %v, want a tone and two languages", o, c.Clips)
		}
		for _, name := range c.Clips {
			if _, err := sounds.Clip(name); err != nil {
				t.Errorf("%v: %v", o, err)
			}
		}
	}
}

// TestNothingChangesWhileWordsAreSpoken holds light and screen to the voice, in every language and in two.
func TestNothingChangesWhileWordsAreSpoken(t *testing.T) {
	for _, languages := range [][]string{{"ko"}, {"en"}, {"vi"}, {"ko", "en"}, {"en", "ko"}, {"ko", "zh"}} {
		gate := New(Options{Languages: languages})
		for _, o := range visit.Outcomes() {
			c, said := gate.cueOf(o, "front", time.Time{}, time.Time{}), time.Duration(0)
			for _, name := range c.Clips {
				said += sounds.Length(name)
			}
			if c.Hold < max(said, 2500*time.Millisecond) || c.Hold > 10*time.Second {
				t.Errorf("%v in %v: it is said in %v and stays for %v", o, languages, said, c.Hold)
			}
		}
	}
	slow := New(Options{Languages: []string{"ko"}, ClipLength: func(name string) time.Duration { return time.Duration(len(name)) * time.Second }})
	if c := slow.cueOf(visit.Expired, "front", time.Time{}, time.Time{}); c.Hold != 10*time.Second {
		t.Errorf("a venue's own recording of half a minute stays for %v", c.Hold)
	}
}

func TestFreshness(t *testing.T) {
	issued := time.Unix(1_600_000_000, 0)
	pub, key, err := ed25519.GenerateKey(nil)
	testkit.Check(t, err)
	code := genuine(t, pub, key, issued)
	const skew = 2 * time.Second
	for rule, c := range map[string]struct {
		at     clock.Reading
		floor  time.Time
		strict bool
		want   token.Freshness
		state  visit.ClockState // by which the visit is recorded
	}{
		"a synced clock judges by its time": {
			at: clock.Reading{Now: issued.Add(time.Minute), State: visit.ClockSynced, Skew: skew}, want: token.Expired, state: visit.ClockSynced,
		},
		"holdover too": {
			at: clock.Reading{Now: issued.Add(-time.Minute), State: visit.ClockHoldover, Skew: skew}, want: token.NotYetValid, state: visit.ClockHoldover,
		},
		"a synced clock does not ask the floor": {
			at: clock.Reading{Now: issued, State: visit.ClockSynced, Skew: skew}, floor: issued.Add(time.Hour), want: token.Fresh, state: visit.ClockSynced,
		},
		"an untrusted clock is not believed to be late":  {at: clock.Reading{Now: issued.Add(time.Hour)}, want: token.Fresh},
		"an untrusted clock is not believed to be early": {at: clock.Reading{Now: issued.Add(-time.Hour)}, want: token.Fresh},
		"an untrusted clock refuses what the floor disproves": {
			at: clock.Reading{Now: issued}, floor: issued.Add(time.Minute), want: token.Expired,
		},
		"a suspicion vouches for a code": {
			at: clock.Reading{Now: issued, State: visit.ClockHoldover, Suspect: true, Skew: skew}, want: token.Fresh, state: visit.ClockHoldover,
		},
		"a suspicion does not condemn an old code": {
			at: clock.Reading{Now: issued.Add(9 * time.Hour), State: visit.ClockHoldover, Suspect: true, Skew: skew}, want: token.Fresh,
		},
		"a suspicion does not condemn a code made ahead": {
			at: clock.Reading{Now: issued.Add(-time.Minute), State: visit.ClockHoldover, Suspect: true, Skew: skew}, want: token.Fresh,
		},
		"under a suspicion the floor condemns": {
			at:    clock.Reading{Now: issued.Add(time.Hour), State: visit.ClockHoldover, Suspect: true, Skew: skew},
			floor: issued.Add(time.Minute), want: token.Expired,
		},
		"a suspicion has to do for who wants no unproven times": {
			at:     clock.Reading{Now: issued.Add(time.Hour), State: visit.ClockHoldover, Suspect: true, Skew: skew},
			strict: true, want: token.Expired, state: visit.ClockHoldover,
		},
	} {
		got, by := freshness(code, c.at, &fixedClock{floor: c.floor}, c.strict)
		if got != c.want || by.State != c.state {
			t.Errorf("%s: %v by a clock that is %v, want %v by one that is %v", rule, got, by.State, c.want, c.state)
		}
	}
}

// genuine returns a verified code.
func genuine(t testing.TB, pub ed25519.PublicKey, key ed25519.PrivateKey, iat time.Time) token.Code {
	t.Helper()
	text, err := token.Sign(key, "naver", iat, token.CTI{1})
	testkit.Check(t, err)
	code, err := verify([]byte(text), oneKey{pub})
	testkit.Check(t, err)
	return code
}

// oneKey is a keyring of one key of the issuer naver, valid for ever.
type oneKey struct{ pub ed25519.PublicKey }

func (k oneKey) Key(kid token.KID) (token.IssuerKey, bool) {
	if kid != token.KeyID(k.pub) {
		return token.IssuerKey{}, false
	}
	return token.IssuerKey{Issuer: "naver", Public: k.pub, NotAfter: time.Unix(1<<40, 0)}, true
}

func (oneKey) Stale(time.Time) bool { return false }
