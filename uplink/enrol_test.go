package uplink

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func TestGateEnrolsByItselfAndDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1200)
		u := f.uplink(nil)
		if s := u.Status(); s.Enrolled {
			t.Fatalf("status %+v", s)
		}
		f.run(u, f.drained)
		f.checkLedger()
		if s := u.Status(); !s.Enrolled || !s.Reached || s.LastError != "" || s.LastContact.IsZero() {
			t.Errorf("status %+v", s)
		}
		if len(f.taken) != 1 || len(f.times) == 0 || time.Since(f.times[0]).Abs() > time.Minute {
			t.Errorf("taken %d, server times %v", len(f.taken), f.times)
		}
		if got := f.files(); got != "provision.cbor -rw-------, terminal.pem -rw-------" {
			t.Errorf("folder holds %s", got)
		}
		f.server.URL = &url.URL{Scheme: "https", Host: "nobody.test"} // loading needs no network
		again := f.uplink(nil)
		if _, ok := again.opts.Identity.Provision(); !ok || !again.Status().Enrolled {
			t.Error("the identity was not kept")
		}
	})
}

// files lists the identity's folder, which is closed to others, with the files' modes.
func (f *fixture) files() string {
	f.t.Helper()
	if mode := testkit.Must(os.Stat(f.dir))(f.t).Mode(); mode.Perm() != 0o700 {
		f.t.Errorf("folder has mode %v", mode)
	}
	var names []string
	for _, e := range testkit.Must(os.ReadDir(f.dir))(f.t) {
		names = append(names, fmt.Sprint(e.Name(), " ", testkit.Must(e.Info())(f.t).Mode()))
	}
	return strings.Join(names, ", ")
}

func TestEnrolmentSurvivesALostAnswer(t *testing.T) {
	for _, lost := range []string{"never arrived", "failed but persisted"} {
		t.Run(lost, bubble(func(t *testing.T) {
			f := newFixture(t, 5)
			var n atomic.Int32
			f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.URL.Path != wire.PathEnrol || n.Add(1) != 1 {
					return false
				}
				if lost == "failed but persisted" {
					f.loseAnswer(r)
				}
				panic(http.ErrAbortHandler)
			})
			f.run(f.uplink(nil), f.drained)
			f.checkLedger()
		}))
	}
	t.Run("and a restart in between", bubble(func(t *testing.T) {
		f := newFixture(t, 5)
		f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			f.loseAnswer(r)
			panic(http.ErrAbortHandler)
		})
		u := f.uplink(nil)
		f.run(u, func() bool { return u.Status().LastError != "" })
		f.server.SetFault(nil)
		f.run(f.uplink(nil), f.drained)
		f.checkLedger()
	}))
}

// loseAnswer lets the server deal with a request whose answer nobody gets.
func (f *fixture) loseAnswer(r *http.Request) { f.server.Handle(httptest.NewRecorder(), r) }

func TestEnrolmentRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fixture)
		notice string
	}{
		{"a wrong code", func(f *fixture) { f.server.SetCode("another") }, "bad-code"},
		{"a certificate for another key", func(f *fixture) {
			right, other := f.server.Issue, newKey(f.t).Public()
			f.server.Issue = func(fac visit.Facility, g visit.Gate, _ crypto.PublicKey) []byte { return right(fac, g, other) }
		}, "another key"},
		{"a certificate for another place", func(f *fixture) {
			right := f.server.Issue
			f.server.Issue = func(_ visit.Facility, g visit.Gate, k crypto.PublicKey) []byte { return right("bar-9", g, k) }
		}, "is for facility bar-9"},
		{"a certificate without a terminal's name", func(f *fixture) {
			f.server.Issue = func(_ visit.Facility, _ visit.Gate, k crypto.PublicKey) []byte {
				return f.server.Sign(&x509.Certificate{}, k)
			}
		}, "URI names"},
		{"something that is no certificate", func(f *fixture) {
			f.server.Issue = func(visit.Facility, visit.Gate, crypto.PublicKey) []byte { return []byte("hello") }
		}, "issued certificate"},
	} {
		t.Run(c.name, bubble(func(t *testing.T) {
			f := newFixture(t, 5)
			c.change(f)
			u := f.uplink(nil)
			f.run(u, func() bool { return strings.Contains(u.Status().LastError, c.notice) })
			if s := u.Status(); s.Enrolled || f.journal.backlog() != 5 || len(f.taken) != 0 {
				t.Errorf("status %+v", s)
			}
			if _, err := os.Stat(filepath.Join(f.dir, fileTerminal)); !os.IsNotExist(err) {
				t.Errorf("something was kept: %v", err)
			}
			if strings.Contains(f.logged.String()+u.Status().LastError, fakevisits.Code) {
				t.Errorf("the code is told:\n%s", f.logged)
			}
		}))
	}
}

func TestWithoutACodeTheTechnicianCanStillEnrol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5)
		u := f.uplink(func(opts *Options) { opts.Code = "" })
		enrolled := false
		f.run(u, func() bool {
			if strings.Contains(u.Status().LastError, "not enrolled") && !enrolled {
				enrolled = true
				testkit.Must(u.Enrol(t.Context(), fakevisits.Code))(t)
			}
			return f.drained()
		})
		f.checkLedger()
	})
}

func TestProvisionTheGateRefusesIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5)
		f.refuse = errors.New("signed by another root")
		u := f.uplink(nil)
		f.run(u, func() bool { return f.drained() && strings.Contains(u.Status().LastError, "another root") })
		if _, ok := u.opts.Identity.Provision(); ok || !u.Status().Enrolled {
			t.Errorf("status %+v", u.Status())
		}
		f.refuse = nil
		u = f.uplink(nil)
		f.run(u, func() bool { _, ok := u.opts.Identity.Provision(); return ok })
	})
}

// A newer trust list is fetched in the background: while the fetch hangs, visits go on being delivered.
func TestRefreshNeverBlocksDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2500).enrolled()
		f.server.SetTrust(2)
		release := make(chan struct{})
		var hung atomic.Bool
		f.server.SetFault(func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path == wire.PathProvision {
				hung.Store(true)
				<-release
			}
			return false
		})
		step := 0
		f.run(f.uplink(nil), func() bool {
			trust, _ := f.Holding()
			switch {
			case step == 0 && f.drained() && hung.Load():
				f.journal.append(700)
				step = 1
			case step == 1 && f.drained():
				if trust != 1 {
					t.Errorf("trust list %d is held while its fetch hangs", trust)
				}
				close(release)
				step = 2
			}
			return step == 2 && trust == 2
		})
		f.checkLedger()
	})
}

func TestRevokedIsKnownAfterARestartAndWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5).enrolled()
		f.server.SetCode("used up")
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path == wire.PathEnrol {
				return false
			}
			f.server.Refuse(w, 403, wire.CodeRevoked, "reported stolen")
			return true
		})
		u := f.uplink(nil)
		f.run(u, func() bool { return u.Status().Revoked && f.logged.Count("new code is needed") == 1 })
		if f.journal.backlog() != 5 {
			t.Error("records were dropped")
		}
		f.server.SetFault(nil)
		u = f.uplink(nil)
		if !u.Status().Revoked {
			t.Error("forgotten by a restart")
		}
		f.run(u, f.drained)
		if u.Status().Revoked || f.uplink(nil).Status().Revoked {
			t.Error("still revoked after the server took records")
		}
		f.checkLedger()
	})
}

func TestRevokedGateComesBackWithANewCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5).enrolled()
		old := f.serial()
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path == wire.PathEnrol || r.TLS.PeerCertificates[0].SerialNumber.String() != old {
				return false
			}
			f.server.Refuse(w, 403, wire.CodeRevoked, "")
			return true
		})
		start := time.Now()
		u := f.uplink(nil)
		f.run(u, func() bool { return !u.Status().Revoked && serialOf(u.opts.Identity) != old && f.drained() })
		if took := time.Since(start); took > time.Second {
			t.Errorf("back after %v: at once, not after the pause in which a revoked terminal tries again", took)
		}
		f.checkLedger()
	})
}

// Whatever becomes of its first request with the new code, a gate that is revoked or unknown asks again.
func TestAGateThatIsNotTakenAsksUntilItIs(t *testing.T) {
	for _, code := range []string{wire.CodeRevoked, wire.CodeUnknown} {
		for name, spoil := range map[string]func(f *fixture, w http.ResponseWriter, r *http.Request){
			"no request arrives": func(*fixture, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"no answer arrives": func(f *fixture, _ http.ResponseWriter, r *http.Request) {
				f.loseAnswer(r)
				panic(http.ErrAbortHandler)
			},
			"the server fails": func(f *fixture, w http.ResponseWriter, _ *http.Request) {
				f.server.Refuse(w, http.StatusInternalServerError, wire.CodeInternal, "")
			},
			"the server's clock makes the code run out": func(f *fixture, w http.ResponseWriter, _ *http.Request) {
				f.server.Refuse(w, http.StatusForbidden, wire.CodeBadCode, "")
			},
			"a portal answers": func(_ *fixture, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		} {
			t.Run(code+", "+name, bubble(func(t *testing.T) {
				f := newFixture(t, 5).enrolled()
				old := f.serial()
				var asked atomic.Int32
				f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
					switch {
					case r.URL.Path == wire.PathEnrol && asked.Add(1) <= 2:
						spoil(f, w, r)
					case r.URL.Path == wire.PathEnrol || r.TLS.PeerCertificates[0].SerialNumber.String() != old:
						return false
					default:
						f.server.Refuse(w, http.StatusForbidden, code, "")
					}
					return true
				})
				u := f.uplink(nil)
				f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
				if s := u.Status(); s.Revoked || s.Unknown || s.LastError != "" || asked.Load() != 3 {
					t.Errorf("status %+v after %d requests", s, asked.Load())
				}
				f.checkLedger()
			}))
		}
	}
}

// A gate that the server takes again of itself uses up no code, until it is refused another time.
func TestAGateThatIsTakenAgainAsksNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5).enrolled()
		f.server.SetCode("used up")
		var refuses atomic.Bool
		var asked atomic.Int32
		refuses.Store(true)
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path == wire.PathEnrol {
				asked.Add(1)
				return false
			}
			if refuses.Load() {
				f.server.Refuse(w, http.StatusForbidden, wire.CodeRevoked, "")
			}
			return refuses.Load()
		})
		begun, before := time.Time{}, int32(0)
		f.runFor(f.uplink(nil), time.Hour, func() bool {
			switch {
			case begun.IsZero() && asked.Load() >= 3:
				refuses.Store(false)
				begun = time.Now()
			case before == 0 && !begun.IsZero() && time.Since(begun) > maxDelay:
				before = asked.Load()
			case before != 0 && time.Since(begun) > 4*maxDelay && !refuses.Load():
				if n := asked.Load(); n != before || !f.drained() {
					t.Errorf("asked %d times more", n-before)
				}
				refuses.Store(true)
				f.journal.append(1)
			}
			return refuses.Load() && before != 0 && asked.Load() > before
		})
	})
}

// A server put back from a backup does not know the gate any more. Visitors are served on: nothing but the technician's page
// and what is enrolled with the code it has tells of it.
func TestUnknownGateIsNotRevokedAndEnrolsAgain(t *testing.T) {
	for rule, code := range map[string]string{"with a good code": fakevisits.Code, "without one": "used up"} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, 5).enrolled()
				old := f.serial()
				f.server.SetCode(fakevisits.Code)
				f.server.SetFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
					if r.URL.Path == wire.PathEnrol || r.TLS.PeerCertificates[0].SerialNumber.String() != old {
						return false
					}
					f.server.Refuse(w, 403, wire.CodeUnknown, "enrol again")
					return true
				})
				u := f.uplink(func(opts *Options) { opts.Code = code })
				if code == fakevisits.Code {
					f.run(u, func() bool { return serialOf(u.opts.Identity) != old && f.drained() })
					if s := u.Status(); s.Unknown || s.LastError != "" {
						t.Errorf("status %+v", s)
					}
					return
				}
				f.run(u, func() bool { return u.Status().Unknown && f.logged.Count("new code is needed") == 1 })
				if s := u.Status(); s.Revoked || !s.Enrolled || s.LastError == "" || f.journal.backlog() != 5 {
					t.Errorf("status %+v, backlog %d", s, f.journal.backlog())
				}
				if f.uplink(nil).Status().Revoked {
					t.Error("revoked after a restart")
				}
			})
		})
	}
}
