package uplink

import (
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// sealedTo lets the gate hold a key other than the server's until it takes a provision.
func (f *fixture) sealedTo(key visit.SealKeyID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seal = key
}

func (f *fixture) provisions() []wire.Provision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.taken
}

// The server's key was replaced while the gate was away. It takes the new one from the first receipt on, and keeps it.
func TestANewSealKeyIsTakenIntoUseWithoutARestart(t *testing.T) {
	bubble(func(t *testing.T) {
		f := newFixture(t, 10).enrolled()
		f.sealedTo(visit.SealKeyID{1})
		f.run(f.uplink(nil), func() bool { return len(f.provisions()) > 0 && f.drained() })
		taken := f.provisions()[0]
		if key := testkit.Must(visit.ParseSealPublicKey(taken.SealKey))(t); key.ID() != f.server.SealKey.Public().ID() {
			t.Errorf("took key %v", key.ID())
		}
		if kept, ok := f.identity().Provision(); !ok || kept.Until != taken.Until {
			t.Errorf("kept is %v, %v", kept.Until, ok)
		}
		f.checkLedger()
	})(t)
}

// A key whose time is over is asked after, whatever receipts say; the gate works on with it meanwhile.
func TestAnEndedSealKeyIsAskedAfter(t *testing.T) {
	for rule, row := range map[string]struct {
		until time.Duration // from the beginning of the run
		asks  bool
	}{
		"its time is over":        {-time.Minute, true},
		"its time ends meanwhile": {30 * time.Minute, true},
		"its time goes on":        {48 * time.Hour, false},
	} {
		t.Run(rule, bubble(func(t *testing.T) {
			f := newFixture(t, 0).enrolled()
			p := f.server.Provision()
			p.Until = time.Now().Add(row.until).UnixMilli()
			testkit.Check(t, f.identity().keepProvision(p))
			start := time.Now()
			u := f.uplink(nil)
			f.runFor(u, 2*renewCheck+time.Minute, func() bool { return len(f.provisions()) > 0 || time.Since(start) > 2*renewCheck })
			if asked := len(f.provisions()) > 0; asked != row.asks {
				t.Errorf("asked for another: %v, want %v", asked, row.asks)
			}
		}))
	}
}

// The server has replaced its key again since the receipt that told of it: what it serves is taken, and asked for no more.
func TestAKeyThatIsOfferedNoMoreIsNotAskedForAgain(t *testing.T) {
	bubble(func(t *testing.T) {
		f := newFixture(t, 0).enrolled()
		u := f.uplink(nil)
		u.offer(wire.Receipt{SealKey: visit.SealKeyID{9}})
		start := time.Now()
		f.runFor(u, 2*time.Hour, func() bool { return time.Since(start) > time.Hour })
		if n := len(f.provisions()); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})(t)
}

// What a gate serves visitors with is of a gate that is enrolled: never, not for a moment, does it look as if its
// certificate were lost.
func TestAGateIsEnrolledBeforeItIsProvisioned(t *testing.T) {
	bubble(func(t *testing.T) {
		f := newFixture(t, 1)
		watched := &watchedProvisioner{fixture: f}
		u := f.uplink(func(opts *Options) { opts.Provision = watched })
		watched.enrolled = func() bool { return u.Status().Enrolled }
		f.run(u, func() bool { return len(f.provisions()) > 0 && f.drained() })
		if watched.early > 0 {
			t.Errorf("%d times the provision came before the status said that the gate is enrolled", watched.early)
		}
	})(t)
}

// watchedProvisioner counts provisions taken while the gate does not say that it is enrolled.
type watchedProvisioner struct {
	*fixture
	enrolled func() bool
	early    int
}

func (w *watchedProvisioner) Provision(p wire.Provision) error {
	if !w.enrolled() {
		w.early++
	}
	return w.fixture.Provision(p)
}
