package uplink

import (
	"crypto"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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
	f = newFixture(t, 5)
	usual := f.server.Issue
	f.server.Issue = func(facility visit.Facility, g visit.Gate, key crypto.PublicKey) []byte {
		return f.server.Sign(&x509.Certificate{
			URIs:      []*url.URL{wire.TerminalURI(facility, g)},
			NotBefore: time.Now().Add(-10 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		}, key)
	}
	f.enrolled()
	f.server.Issue = usual
	return f, f.serial()
}

func TestRenewal(t *testing.T) {
	t.Run("at two thirds of the certificate's life, by itself", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		u := f.uplink(nil)
		f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
		if now := f.serial(); now == old || !f.server.Saw(now) || !f.server.Saw(old) {
			t.Errorf("old %s (seen: %v), now %s (seen: %v)", old, f.server.Saw(old), now, f.server.Saw(now))
		}
		if u.opts.Identity.unproven() != nil {
			t.Error("a renewed identity is left over")
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
	t.Run("a crash before the renewed certificate is proven: it is proven after the restart", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		key := newKey(t)
		testkit.Check(t, f.identity().store(fileRenewed, key, f.server.Issue(fakevisits.Facility, fakevisits.Gate, key.Public())))
		if f.serial() != old {
			t.Fatal("the renewed certificate is used unproven")
		}
		u := f.uplink(nil)
		f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
		f.checkLedger()
	}))
	t.Run("a renewed certificate the server does not take is discarded, the old one works on", bubble(func(t *testing.T) {
		f, old := newDueFixture(t)
		f.server.Issue = fakevisits.New(t).Issue // of an authority that the server does not know
		f.run(f.uplink(nil), func() bool { return f.logged.Count("discarded") > 0 && f.drained() })
		if f.serial() != old {
			t.Error("the old identity is gone")
		}
		f.journal.append(5)
		f.run(f.uplink(nil), f.drained)
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
