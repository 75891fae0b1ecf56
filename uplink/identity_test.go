package uplink

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func TestGateEnrolsByItselfAndDrains(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 1200)
	u := g.uplink(nil)
	if s := u.Status(); s.Enrolled {
		t.Fatalf("status %+v", s)
	}
	g.run(u, g.drained)
	g.checkLedger()
	if s := u.Status(); !s.Enrolled || !s.Reached || s.LastError != "" || s.LastContact.IsZero() {
		t.Errorf("status %+v", s)
	}
	if len(g.taken) != 1 || len(g.times) == 0 || time.Since(g.times[0]).Abs() > time.Minute {
		t.Errorf("taken %d, server times %v", len(g.taken), g.times)
	}
	info, err := os.Stat(g.dir)
	check(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	entries, err := os.ReadDir(g.dir)
	check(t, err)
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		check(t, err)
		names = append(names, fmt.Sprint(e.Name(), " ", info.Mode()))
	}
	if got := strings.Join(names, ", "); got != "provision.cbor -rw-------, terminal.pem -rw-------" {
		t.Errorf("folder holds %s", got)
	}
	c.url = &url.URL{Scheme: "https", Host: "127.0.0.1:1"} // nothing there: loading needs no network
	again := g.uplink(nil)
	if _, ok := again.o.Identity.Provision(); !ok || !again.Status().Enrolled {
		t.Error("the identity was not kept")
	}
}

func TestEnrolmentSurvivesALostAnswer(t *testing.T) {
	for _, lost := range []string{"never arrived", "failed but persisted"} {
		t.Run(lost, func(t *testing.T) {
			c := newCentral(t).start()
			g := newGateSide(t, c, 5)
			var n atomic.Int32
			c.setFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
				if r.URL.Path != wire.PathEnrol || n.Add(1) != 1 {
					return false
				}
				if lost == "failed but persisted" {
					c.enrol(discard{http.Header{}}, r)
				}
				panic(http.ErrAbortHandler)
			})
			g.run(g.uplink(nil), g.drained)
			g.checkLedger()
		})
	}
	t.Run("and a restart in between", func(t *testing.T) {
		c := newCentral(t).start()
		g := newGateSide(t, c, 5)
		c.setFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			c.enrol(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		})
		u := g.uplink(nil)
		g.run(u, func() bool { return u.Status().LastError != "" })
		c.setFault(nil)
		g.run(g.uplink(nil), g.drained)
		g.checkLedger()
	})
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestEnrolmentRefuses(t *testing.T) {
	for _, f := range []struct {
		name   string
		change func(c *central)
		notice string
	}{
		{"a wrong code", func(c *central) { c.code = "another" }, "bad-code"},
		{"a certificate for another key", func(c *central) {
			other := newKey(c.t)
			c.issue = func(f visit.Facility, g visit.Gate, _ *ecdsa.PublicKey) []byte {
				return c.authority.terminal(c.t, &other.PublicKey, f, g)
			}
		}, "another key"},
		{"a certificate for another place", func(c *central) {
			c.issue = func(f visit.Facility, g visit.Gate, k *ecdsa.PublicKey) []byte {
				return c.authority.terminal(c.t, k, "bar-9", g)
			}
		}, "is for facility bar-9"},
		{"a certificate without a terminal's name", func(c *central) {
			c.issue = func(_ visit.Facility, _ visit.Gate, k *ecdsa.PublicKey) []byte {
				return c.authority.sign(c.t, &x509.Certificate{}, k)
			}
		}, "URI names"},
		{"something that is no certificate", func(c *central) {
			c.issue = func(visit.Facility, visit.Gate, *ecdsa.PublicKey) []byte { return []byte("hello") }
		}, "issued certificate"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newCentral(t).start()
			g := newGateSide(t, c, 5)
			f.change(c)
			u := g.uplink(nil)
			g.run(u, func() bool { return strings.Contains(u.Status().LastError, f.notice) })
			if s := u.Status(); s.Enrolled || g.journal.backlog() != 5 || len(g.taken) != 0 {
				t.Errorf("status %+v", s)
			}
			if _, err := os.Stat(filepath.Join(g.dir, fileTerminal)); !os.IsNotExist(err) {
				t.Errorf("something was kept: %v", err)
			}
			if strings.Contains(g.log.String()+u.Status().LastError, testCode) {
				t.Errorf("the code is told:\n%s", g.log)
			}
		})
	}
}

func TestWithoutACodeTheTechnicianCanStillEnrol(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 5)
	u := g.uplink(func(o *Options) { o.Code = "" })
	var once atomic.Bool
	g.run(u, func() bool {
		if strings.Contains(u.Status().LastError, "not enrolled") && !once.Swap(true) {
			_, err := u.Enrol(t.Context(), testCode)
			check(t, err)
		}
		return g.drained()
	})
	g.checkLedger()
}

func TestProvisionTheGateRefusesIsNotKept(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 5)
	g.refuse = errors.New("signed by another root")
	u := g.uplink(nil)
	g.run(u, func() bool { return g.drained() && strings.Contains(u.Status().LastError, "another root") })
	if _, ok := u.o.Identity.Provision(); ok || !u.Status().Enrolled {
		t.Errorf("status %+v", u.Status())
	}
	g.refuse = nil
	u = g.uplink(nil)
	g.run(u, func() bool { _, ok := u.o.Identity.Provision(); return ok })
}

// A newer trust list is fetched in the background: while the fetch hangs, visits go on being delivered.
func TestRefreshNeverBlocksDraining(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 2500).enrolled()
	c.trust = 2
	release, hung := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	c.setFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == wire.PathProvision {
			if !once.Swap(true) {
				close(hung)
			}
			<-release
		}
		return false
	})
	u := g.uplink(nil)
	var step int
	g.run(u, func() bool {
		switch {
		case step == 0 && g.drained():
			<-hung
			g.journal.append(700)
			step = 1
		case step == 1 && g.drained():
			if trust, _ := g.Holding(); trust != 1 {
				t.Errorf("trust list %d is held while its fetch hangs", trust)
			}
			close(release)
			step = 2
		}
		trust, _ := g.Holding()
		return step == 2 && trust == 2
	})
	g.checkLedger()
}

func (g *gateSide) shortLived(left time.Duration) {
	g.server.issue = func(f visit.Facility, gate visit.Gate, key *ecdsa.PublicKey) []byte {
		return g.server.authority.sign(g.t, &x509.Certificate{
			URIs:      []*url.URL{wire.TerminalURI(f, gate)},
			NotBefore: time.Now().Add(-10 * time.Hour), NotAfter: time.Now().Add(left),
		}, key)
	}
}

func (g *gateSide) serial() string {
	id, err := OpenIdentity(g.dir)
	check(g.t, err)
	return id.certificate().Leaf.SerialNumber.String()
}

func TestRenewal(t *testing.T) {
	begin := func(t *testing.T) (*central, *gateSide, string) {
		c := newCentral(t).start()
		g := newGateSide(t, c, 5)
		usual := c.issue
		g.shortLived(time.Hour)
		g.enrolled()
		c.issue = usual
		return c, g, g.serial()
	}
	t.Run("at two thirds of the certificate's life, by itself", func(t *testing.T) {
		c, g, old := begin(t)
		u := g.uplink(nil)
		g.run(u, func() bool { return u.o.Identity.certificate().Leaf.SerialNumber.String() != old && g.drained() })
		if fresh := g.serial(); fresh == old || !c.serials[fresh] || !c.serials[old] {
			t.Errorf("old %s, now %s, seen %v", old, fresh, c.serials)
		}
		if u.o.Identity.unproven() != nil {
			t.Error("a renewed identity is left over")
		}
		g.checkLedger()
	})
	t.Run("the answer is lost: the same key is used again and the old certificate works on", func(t *testing.T) {
		c, g, old := begin(t)
		var n atomic.Int32
		c.setFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != wire.PathRenew {
				return false
			}
			n.Add(1)
			c.renew(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		})
		u := g.uplink(nil)
		g.run(u, func() bool { return n.Load() >= 2 && g.drained() })
		if g.serial() != old {
			t.Error("the identity changed without an answer")
		}
		key, err := os.ReadFile(filepath.Join(g.dir, filePending))
		check(t, err)
		c.setFault(nil)
		u = g.uplink(nil)
		g.run(u, func() bool { return u.o.Identity.certificate().Leaf.SerialNumber.String() != old })
		b, err := os.ReadFile(filepath.Join(g.dir, fileTerminal))
		check(t, err)
		if !strings.HasPrefix(string(b), string(key)) {
			t.Error("another key was used")
		}
	})
	t.Run("a crash before the renewed certificate is proven: it is proven after the restart", func(t *testing.T) {
		c, g, old := begin(t)
		id, err := OpenIdentity(g.dir)
		check(t, err)
		key := newKey(t)
		check(t, id.store(fileRenewed, key, c.issue(testFacility, testGate, &key.PublicKey)))
		if g.serial() != old {
			t.Fatal("the renewed certificate is used unproven")
		}
		u := g.uplink(nil)
		g.run(u, func() bool { return u.o.Identity.certificate().Leaf.SerialNumber.String() != old && g.drained() })
		g.checkLedger()
	})
	t.Run("a renewed certificate the server does not take is discarded, the old one works on", func(t *testing.T) {
		c, g, old := begin(t)
		stranger := newAuthority(t)
		c.issue = func(f visit.Facility, gate visit.Gate, k *ecdsa.PublicKey) []byte {
			return stranger.terminal(t, k, f, gate)
		}
		u := g.uplink(nil)
		g.run(u, func() bool { return g.log.count("discarded") > 0 && g.drained() })
		if g.serial() != old {
			t.Error("the old identity is gone")
		}
		g.journal.append(5)
		g.run(g.uplink(nil), g.drained)
		g.checkLedger()
	})
}

func TestRevokedIsKnownAfterARestartAndWithdrawn(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 5).enrolled()
	c.code = "used up"
	c.setFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == wire.PathEnrol {
			return false
		}
		c.refuse(w, 403, wire.CodeRevoked, "reported stolen")
		return true
	})
	u := g.uplink(nil)
	g.run(u, func() bool { return u.Status().Revoked && g.log.count("new code is needed") == 1 })
	if g.journal.backlog() != 5 {
		t.Error("records were dropped")
	}
	c.setFault(nil)
	u = g.uplink(nil)
	if !u.Status().Revoked {
		t.Error("forgotten by a restart")
	}
	g.run(u, g.drained)
	if u.Status().Revoked || g.uplink(nil).Status().Revoked {
		t.Error("still revoked after the server took records")
	}
	g.checkLedger()
}

func TestRevokedGateComesBackWithANewCode(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 5).enrolled()
	old := g.serial()
	c.setFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.URL.Path == wire.PathEnrol || r.TLS.PeerCertificates[0].SerialNumber.String() != old {
			return false
		}
		c.refuse(w, 403, wire.CodeRevoked, "")
		return true
	})
	u := g.uplink(nil)
	g.run(u, func() bool { // at once, not after the pause in which a revoked terminal tries again
		return !u.Status().Revoked && u.o.Identity.certificate().Leaf.SerialNumber.String() != old && g.drained()
	})
	g.checkLedger()
}

func TestDamagedIdentityIsSetAside(t *testing.T) {
	c := newCentral(t).start()
	for _, name := range []string{fileTerminal, fileProvision} {
		t.Run(name, func(t *testing.T) {
			g := newGateSide(t, c, 0).enrolled()
			path := filepath.Join(g.dir, name)
			b, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, b[:len(b)/2], 0o600))
			id, err := OpenIdentity(g.dir)
			check(t, err)
			_, _, enrolled := id.Terminal()
			_, provisioned := id.Provision()
			if id.Damage() == nil || enrolled != (name != fileTerminal) || provisioned != (name != fileProvision) {
				t.Errorf("damage %v, enrolled %v, provisioned %v", id.Damage(), enrolled, provisioned)
			}
			if kept, err := os.ReadFile(path + damagedSuffix); err != nil || len(kept) != len(b)/2 {
				t.Errorf("the damaged file was not kept: %v", err)
			}
		})
	}
	t.Run("half written files are cleared away", func(t *testing.T) {
		g := newGateSide(t, c, 0).enrolled()
		check(t, os.WriteFile(filepath.Join(g.dir, ".new-1"), []byte("half"), 0o600))
		if _, err := OpenIdentity(g.dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(g.dir, ".new-1")); !os.IsNotExist(err) {
			t.Error("still there")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 0).enrolled()
	base := g.uplink(nil).o
	for name, change := range map[string]func(*Options){
		"plain HTTP":         func(o *Options) { o.Server = &url.URL{Scheme: "http", Host: "x"} },
		"a user in the URL":  func(o *Options) { o.Server = &url.URL{Scheme: "https", Host: "x", User: url.User("a")} },
		"no authority":       func(o *Options) { o.CA = nil },
		"no source":          func(o *Options) { o.Source = nil },
		"a malformed gate":   func(o *Options) { o.Gate = "Door 1" },
		"another gate's key": func(o *Options) { o.Gate = "door-2" },
	} {
		o := base
		change(&o)
		if u, err := New(o); err == nil || u != nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestRenewAtSpreadsAFleet(t *testing.T) {
	a := newAuthority(t)
	start := time.Date(2020, 6, 10, 0, 0, 0, 0, time.UTC)
	distinct := map[time.Time]bool{}
	for range 20 {
		key := newKey(t)
		c, err := x509.ParseCertificate(a.sign(t, &x509.Certificate{NotBefore: start, NotAfter: start.Add(90 * 24 * time.Hour)}, &key.PublicKey))
		check(t, err)
		at := renewAt(c)
		if days := at.Sub(start).Hours() / 24; days < 60 || days > 64 {
			t.Errorf("renewed after %.1f of 90 days", days)
		}
		distinct[at] = true
	}
	if len(distinct) < 10 {
		t.Errorf("only %d different times for 20 certificates", len(distinct))
	}
}
