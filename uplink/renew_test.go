package uplink

import (
	"crypto"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// newDueFixture is a fixture whose certificate is to be renewed; it returns the certificate's serial number.
func newDueFixture(t *testing.T) (f *fixture, serial string) {
	return newFixtureFor(t, -10*time.Hour, time.Hour)
}

// newFixtureFor is a fixture whose certificate is valid from one time to another, as they lie from now; it returns the
// certificate's serial number.
func newFixtureFor(t *testing.T, from, to time.Duration) (f *fixture, serial string) {
	f = newFixture(t, 5)
	usual := f.server.Issue
	f.server.Issue = func(facility visit.Facility, g visit.Gate, key crypto.PublicKey) []byte {
		return f.server.Sign(&x509.Certificate{
			URIs:      []*url.URL{wire.TerminalURI(facility, g)},
			NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
		}, key)
	}
	f.enrolled()
	f.server.Issue = usual
	return f, f.serial()
}

// serialsOf makes the server note with which certificates it is asked from now on, each as often as it follows another, and
// lets fault deal with requests.
func (f *fixture) serialsOf(fault func(w http.ResponseWriter, r *http.Request, serial string) bool) func() []string {
	var mu sync.Mutex
	var all []string
	f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == wire.PathEnrol {
			return false
		}
		serial := r.TLS.PeerCertificates[0].SerialNumber.String()
		mu.Lock()
		all = slices.Compact(append(all, serial))
		mu.Unlock()
		return fault(w, r, serial)
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func TestRenewal(t *testing.T) {
	t.Run("at two thirds of the certificate's life, by itself", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		u := f.uplink(nil)
		f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() && f.server.Saw(f.serial()) })
		if now := f.serial(); now == old || !f.server.Saw(now) || !f.server.Saw(old) {
			t.Errorf("old %s (seen: %v), now %s (seen: %v)", old, f.server.Saw(old), now, f.server.Saw(now))
		}
		if got := f.files(); got != "previous.pem -rw-------, provision.cbor -rw-------, terminal.pem -rw-------" {
			t.Errorf("folder holds %s", got)
		}
		f.checkLedger()
	}))
	t.Run("the answer is lost: the same key is used again and the old certificate works on", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		var n atomic.Int32
		f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != wire.PathRenew {
				return false
			}
			n.Add(1)
			f.loseAnswer(r)
			panic(http.ErrAbortHandler)
		})
		f.run(f.uplink(nil), func() bool { return n.Load() >= 2 && f.drained() })
		if f.serial() != old {
			t.Error("the identity changed without an answer")
		}
		key := testkit.Must(os.ReadFile(filepath.Join(f.dir, filePending)))(t)
		f.server.SetFault(nil)
		u := f.uplink(nil)
		f.run(u, func() bool { return serialOf(u.opts.Identity) != old })
		if b := testkit.Must(os.ReadFile(filepath.Join(f.dir, fileTerminal)))(t); !strings.HasPrefix(string(b), string(key)) {
			t.Error("another key was used")
		}
	}))
	t.Run("it is refused because a copy has renewed: a technician sees it, and visits are delivered on", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != wire.PathRenew {
				return false
			}
			f.server.Refuse(w, http.StatusConflict, wire.CodeSuperseded, "another certificate has followed this one")
			return true
		})
		u := f.uplink(nil)
		f.run(u, func() bool { return strings.Contains(u.Status().LastError, "another certificate") && f.drained() })
		if f.serial() != old {
			t.Error("the identity is gone")
		}
	}))
	t.Run("a crash after the renewal, before it is kept: it is asked for again", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		id := f.identity()
		testkit.Must(id.pendingKey())(t)
		b := testkit.Must(os.ReadFile(filepath.Join(f.dir, fileTerminal)))(t)
		testkit.Check(t, os.WriteFile(filepath.Join(f.dir, filePrevious), b, 0o600))
		u := f.uplink(nil)
		f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
		f.checkLedger()
	}))
	t.Run("the first answers to the renewed certificate are lost: the one before is not used any more", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		var lost atomic.Int32
		serials := f.serialsOf(func(_ http.ResponseWriter, r *http.Request, serial string) bool {
			if serial != old && lost.Add(1) < 9 {
				f.loseAnswer(r)
				panic(http.ErrAbortHandler)
			}
			return false
		})
		u := f.uplink(nil)
		f.run(u, func() bool {
			if lost.Load() == 5 {
				f.journal.append(1)
			}
			return lost.Load() > 9 && f.drained()
		})
		if got := serials(); !slices.Equal(got, []string{old, f.serial()}) {
			t.Errorf("asked with %v, had %s", got, old)
		}
		f.checkLedger()
	}))
}

// A visit server that is restored from a backup may not know a gate's last renewal. It knows the one before.
func TestARenewalThatTheServerHasLost(t *testing.T) {
	for name, knowsNone := range map[string]bool{"is made again": false, "leaves a gate that nobody knows": true} {
		t.Run(name, bubble(func(t *testing.T) {
			f, old := newDueFixture(t)
			f.server.SetCode("used up")
			u := f.uplink(nil)
			f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
			renewed := f.serial()
			serials := f.serialsOf(func(w http.ResponseWriter, _ *http.Request, serial string) bool {
				if serial == renewed || knowsNone {
					f.server.Refuse(w, http.StatusForbidden, wire.CodeUnknown, "")
					return true
				}
				return false
			})
			f.journal.append(5)
			u = f.uplink(nil)
			start := time.Now()
			if knowsNone {
				f.run(u, func() bool { return u.Status().Unknown && f.logged.Count("new code is needed") == 1 })
				if got := serials(); !slices.Equal(got, []string{renewed, old}) {
					t.Errorf("asked with %v, have %s before %s", got, old, renewed)
				}
				return
			}
			f.run(u, f.drained)
			if took := time.Since(start); took > 5*time.Second || u.Status().Unknown || f.serial() != old {
				t.Errorf("delivered after %v, status %+v", took, u.Status())
			}
			f.runFor(f.uplink(nil), 2*renewCheck, func() bool { return len(serials()) == 3 })
			if got := serials(); len(got) != 3 || got[2] != f.serial() {
				t.Errorf("asked with %v, had %s and %s before", got, old, renewed)
			}
			f.checkLedger()
		}))
	}
}

// What a server says of a certificate is right, whatever the gate's clock says.
func TestACertificateThatHasRunOutIsRenewedAtOnce(t *testing.T) {
	for name, behind := range map[string]time.Duration{"the gate knows": 0, "the gate's clock is behind": 30 * time.Minute} {
		t.Run(name, bubble(func(t *testing.T) {
			f, old := newFixtureFor(t, -50*time.Minute, -10*time.Minute)
			var lost atomic.Int32
			f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.URL.Path == wire.PathRenew && lost.Add(1) <= 2 {
					f.loseAnswer(r)
					panic(http.ErrAbortHandler)
				}
				return false
			})
			start := time.Now()
			u := f.uplink(func(opts *Options) {
				opts.Time = func() (time.Time, bool) { return time.Now().Add(-behind), true }
			})
			f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
			if took := time.Since(start); took > time.Minute {
				t.Errorf("delivering after %v", took)
			}
			f.checkLedger()
		}))
	}
	t.Run("the gate was revoked meanwhile", bubble(func(t *testing.T) {
		f, _ := newFixtureFor(t, -50*time.Minute, -10*time.Minute)
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path == wire.PathRenew {
				f.server.Refuse(w, http.StatusForbidden, wire.CodeRevoked, "")
			}
			return r.URL.Path == wire.PathRenew
		})
		u := f.uplink(func(opts *Options) { opts.Code = "" })
		f.run(u, func() bool { return u.Status().Revoked })
		if !f.identity().isRevoked() {
			t.Error("forgotten by a restart")
		}
	}))
	t.Run("the server takes no certificate of the renewal's", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		f.server.Issue = fakevisits.New(t).Issue // of an authority that the server does not know
		serials := f.serialsOf(func(http.ResponseWriter, *http.Request, string) bool { return false })
		u := f.uplink(nil)
		f.run(u, func() bool {
			return f.drained() && u.opts.Identity.certificate() != nil && f.logged.Count("the one before it is tried") > 0
		})
		if got := serials(); got[len(got)-1] != old {
			t.Errorf("asked with %v, had %s", got, old)
		}
		f.checkLedger()
	}))
}

func TestRenewAtSpreadsAFleet(t *testing.T) {
	server := fakevisits.New(t)
	start := time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	distinct := map[time.Time]bool{}
	for range 20 {
		der := server.Sign(&x509.Certificate{NotBefore: start, NotAfter: start.Add(90 * 24 * time.Hour)}, newKey(t).Public())
		at := renewAt(testkit.Must(x509.ParseCertificate(der))(t))
		if days := at.Sub(start).Hours() / 24; days < 60 || days > 64 {
			t.Errorf("renewed after %.1f of 90 days", days)
		}
		distinct[at] = true
	}
	if len(distinct) < 10 {
		t.Errorf("only %d different times for 20 certificates", len(distinct))
	}
}

func TestACertificateOfALaterTimeIsDue(t *testing.T) {
	now := time.Date(2020, 7, 1, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		begins time.Duration // after now
		known  bool          // the time is
		due    bool
	}{
		{-time.Hour, true, false},
		{maxEarly, true, false},
		{maxEarly + time.Second, true, true},
		{365 * 24 * time.Hour, true, true},
		{365 * 24 * time.Hour, false, false},
		{-300 * 24 * time.Hour, false, true},
	} {
		begins := now.Add(c.begins)
		leaf := &x509.Certificate{NotBefore: begins, NotAfter: begins.AddDate(1, 0, 0)}
		if due := renewIn(leaf, now, c.known) <= 0; due != c.due {
			t.Errorf("it begins in %v, the time is known: %v, due: %v", c.begins, c.known, due)
		}
	}
}
