package firmware

import (
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// world is a gate in a world whose true time is that of the test's bubble, while the gate's sources of time may be wrong.
type world struct {
	t     *testing.T
	keys  keyring
	began time.Time

	wall    time.Duration            // the gate's wall clock is this far ahead of true time
	synced  bool                     // the kernel says that its clock is right
	battery bool                     // the wall clock was taken from a battery-kept clock at boot
	server  time.Duration            // the visit server's clock is this far ahead
	reached bool                     // the visit server is
	dated   map[string]time.Duration // an issuer's clock is this far ahead
	refuse  bool                     // the gate is out of service without a clock

	note    time.Time // what the journal keeps of the time
	clock   *clock.Clock
	gate    *Gate
	journal *memory
	shown   uint64
}

// keyring has a key for each issuer.
type keyring map[string]ed25519.PrivateKey

func (k keyring) Key(kid token.KID) (token.IssuerKey, bool) {
	for issuer, key := range k {
		if pub := key.Public().(ed25519.PublicKey); kid == token.KeyID(pub) {
			return token.IssuerKey{Issuer: issuer, Public: pub, NotAfter: time.Unix(1<<40, 0)}, true
		}
	}
	return token.IssuerKey{}, false
}

func (keyring) Stale(time.Time) bool { return false }

func newWorld(t *testing.T) *world {
	w := &world{t: t, keys: keyring{}, began: time.Now(), dated: map[string]time.Duration{}}
	for _, issuer := range []string{"naver", "kakao", "rogue"} {
		_, key, err := ed25519.GenerateKey(nil)
		testkit.Check(t, err)
		w.keys[issuer] = key
	}
	return w
}

// boot starts the gate's program; the machine's monotonic clock begins anew.
func (w *world) boot() {
	w.t.Helper()
	booted := time.Now()
	w.clock = clock.New(clock.Options{
		Skew: clock.DefaultSkew, Floor: w.note, OnEvidence: func(floor time.Time) { w.note = floor.Truncate(time.Second) },
		Now: func() time.Time { return time.Now().Add(w.wall) }, Monotonic: func() time.Duration { return time.Since(booted) },
		Kernel: func() (clock.KernelTime, error) {
			if w.synced {
				return clock.KernelTime{}, nil
			}
			return clock.KernelTime{MaxError: hour}, nil
		},
		RTC: func() bool { return w.battery },
	})
	log, _ := testkit.NewLogger()
	w.journal = &memory{}
	w.gate = New(Options{
		Trust: w.keys, Clock: w.clock, Languages: []string{"ko"}, Board: health.NewBoard(time.Now, log), Logger: log,
		RefuseUntrusted: w.refuse,
	})
	w.gate.Use(w.journal)
	w.sync()
}

// sync is one exchange with the visit server.
func (w *world) sync() {
	if w.reached {
		w.clock.ServerTime(time.Now().Add(w.server), 0)
	}
}

// show presents a new code of the issuer, as old as given by true time, and checks the time of its visit. 15 s pass.
func (w *world) show(issuer string, age time.Duration) visit.Outcome {
	w.t.Helper()
	time.Sleep(15 * time.Second)
	w.sync()
	w.shown++
	var cti token.CTI
	binary.BigEndian.PutUint64(cti[:], w.shown)
	text, err := token.Sign(w.keys[issuer], issuer, time.Now().Add(w.dated[issuer]-age), cti)
	testkit.Check(w.t, err)
	before := len(w.journal.kept())
	s := scan{drivers.Read{Data: []byte(text), Reader: "front", At: time.Now()}, make(chan visit.Outcome, 1)}
	w.gate.evaluate(w.t.Context(), s)
	o := <-s.outcome
	kept := w.journal.kept()
	if o == visit.Admitted && w.dated[issuer] == 0 {
		if off := time.Until(kept[len(kept)-1].At).Abs(); off > 45*time.Second {
			w.t.Errorf("visit %d of %s is %v off its true time, clock %v", w.shown, issuer, off, kept[len(kept)-1].Clock)
		}
	}
	if o == visit.Admitted && len(kept) != before+1 {
		w.t.Errorf("green with %d records, want %d", len(kept), before+1)
	}
	return o
}

// queue lets visitors of both honest issuers come with codes of two seconds, and returns how many are refused. Once some
// have come, none may be.
func (w *world) queue() (refused int) {
	w.t.Helper()
	for i := range 10 {
		for _, issuer := range []string{"naver", "kakao"} {
			if o := w.show(issuer, 2*time.Second); o != visit.Admitted {
				refused++
				if i > 2 {
					w.t.Errorf("visitor %d, of %s: %v, clock %v", w.shown, issuer, o, w.clock.Read().State)
				}
			}
		}
	}
	return refused
}

// wellKept is a gate that has run well before: its journal knows the time.
func (w *world) wellKept() {
	w.synced = true
	w.boot()
	w.queue()
	w.synced = false
	time.Sleep(6 * hour)
}

const (
	hour                         = time.Hour
	years                        = 10 * 365 * 24 * hour
	trusted, holdover, untrusted = visit.ClockSynced, visit.ClockHoldover, visit.ClockUntrusted
)

// What the gate's sources say, how far off true time.

func byKernel(off time.Duration) func(*world) { return func(w *world) { w.synced, w.wall = true, off } }
func byServer(off time.Duration) func(*world) {
	return func(w *world) { w.reached, w.server = true, off }
}
func byBattery(off time.Duration) func(*world) {
	return func(w *world) { w.battery, w.wall = true, off }
}
func rogue(off time.Duration) func(*world) { return func(w *world) { w.dated["rogue"] = off } }
func kept(off time.Duration) func(*world)  { return func(w *world) { w.note = time.Now().Add(off) } }
func noClock(w *world)                     { w.wall = -years }
func timeServerMended(w *world)            { w.wall, w.synced = 0, true }
func serverMended(w *world)                { w.reached, w.server = true, 0 }

func with(all ...func(*world)) func(*world) {
	return func(w *world) {
		for _, f := range all {
			f(w)
		}
	}
}

// However wrong one source of time is, honest visitors are admitted after a few at the most, before and after restarts,
// each with a time by which it is found; and once the source is right again, so is the gate.
func TestNoWrongTimeShutsTheGate(t *testing.T) {
	for rule, c := range map[string]struct {
		wrong   func(w *world)
		refused int              // of honest visitors, after each boot at most
		state   visit.ClockState // with which it then goes on
		mend    func(w *world)
	}{
		"a time server gave 2036 once":         {byKernel(years), 0, untrusted, timeServerMended},
		"a time server is nine hours behind":   {byKernel(-9 * hour), 3, untrusted, timeServerMended},
		"the visit server is three days ahead": {byServer(72 * hour), 3, untrusted, serverMended},
		"the visit server is 40 s ahead":       {byServer(40 * time.Second), 3, untrusted, serverMended},
		"the visit server is 40 s behind":      {byServer(-40 * time.Second), 3, untrusted, serverMended},
		"the visit server is 10 min ahead":     {byServer(10 * time.Minute), 3, untrusted, serverMended},
		"the visit server is 10 min behind":    {byServer(-10 * time.Minute), 3, untrusted, serverMended},
		"the battery clock keeps local time":   {byBattery(9 * hour), 0, untrusted, timeServerMended},
		"the battery clock is 40 s ahead":      {byBattery(40 * time.Second), 0, untrusted, serverMended},
		"the battery clock is 40 s behind":     {byBattery(-40 * time.Second), 0, untrusted, serverMended},
		"there is no clock":                    {noClock, 0, untrusted, timeServerMended},
		"an issuer dates ahead, no clock":      {with(noClock, rogue(50*hour)), 0, untrusted, timeServerMended},
		"an issuer dates behind, no clock":     {with(noClock, rogue(-50*hour)), 0, untrusted, timeServerMended},
		"an issuer dates ahead of the server":  {with(byServer(0), rogue(hour)), 0, trusted, serverMended},
		"an issuer dates behind the server":    {with(byServer(0), rogue(-hour)), 0, trusted, serverMended},
		"an issuer dates ahead of the kernel":  {with(byKernel(0), rogue(hour)), 0, trusted, timeServerMended},
		"an issuer dates behind a battery":     {with(byBattery(0), rogue(-hour)), 0, holdover, timeServerMended},
		"an issuer agrees with a wrong server": {with(byServer(hour), rogue(hour)), 3, untrusted, serverMended},
		"what is kept is wrong, no clock":      {with(noClock, kept(years/3)), 3, untrusted, timeServerMended},
		"what is kept is wrong, by the server": {with(byServer(0), kept(years/3)), 3, trusted, serverMended},
		"what is kept is wrong, by the kernel": {with(byKernel(0), kept(years/3)), 0, trusted, timeServerMended},
	} {
		for before, prepare := range map[string]func(w *world){"new": func(*world) {}, "well kept before": (*world).wellKept} {
			t.Run(rule+"/"+before, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					prepare(w)
					c.wrong(w)
					for boot := range 3 {
						w.boot()
						for range 4 {
							w.show("rogue", 0)
						}
						limit := c.refused
						if before == "new" && boot == 0 && w.synced && w.wall > 0 {
							limit = 3 // nothing is known that contradicts it
						}
						if n := w.queue(); n > limit {
							t.Errorf("boot %d: %d honest visitors refused, %d at most may be", boot, n, limit)
						}
						if got := w.clock.Read().State; got != c.state {
							t.Errorf("boot %d: clock is %v, want %v", boot, got, c.state)
						}
						if w.note.After(time.Now()) {
							t.Errorf("boot %d: it is kept that it is later than %v, %v after the true time", boot, w.note, time.Until(w.note))
						}
						time.Sleep(time.Minute)
					}
					c.mend(w)
					w.dated = map[string]time.Duration{}
					w.sync()
					w.show("naver", 0)
					w.show("kakao", 0)
					if r := w.clock.Read(); r.State != visit.ClockSynced || time.Until(r.Now).Abs() > 3*time.Second || r.Floor.After(r.Now) {
						t.Errorf("mended, it reads %v, %v off, floor %v", r.State, time.Until(r.Now), r.Floor.Sub(r.Now))
					}
					if o := w.show("naver", 30*time.Second); o != visit.Expired {
						t.Errorf("mended, a code of 30 s is %v", o)
					}
				})
			})
		}
	}
}

// Codes are listened to while they are not served: a gate that somebody has put out of service with a handful of old
// codes is put back by those of the next visitors.
func TestAGateThatRefusesAnUntrustedClockIsPutBackByCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.refuse, w.reached = true, true
		w.boot()
		var outcomes []visit.Outcome
		for _, age := range []time.Duration{10 * time.Minute, 10 * time.Minute, 0, 0} {
			outcomes = append(outcomes, w.show("naver", age), w.show("kakao", age))
		}
		const late, out, in = visit.Expired, visit.OutOfService, visit.Admitted
		if want := []visit.Outcome{late, late, late, out, out, out, in, in}; !slices.Equal(outcomes, want) {
			t.Errorf("%v, want %v", outcomes, want)
		}
	})
}
