package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// A fault says how the answer to one batch goes wrong.
type fault struct {
	name   string
	spoil  func(c *central, w http.ResponseWriter, r *http.Request, s visit.Segment)
	notice string // in the log
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(body)
}

// forge answers with a receipt that has been changed.
func forge(change func(*wire.Receipt)) func(*central, http.ResponseWriter, *http.Request, visit.Segment) {
	return func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		r := c.receipt(visit.Settlement{Journal: s.Journal, Through: s.Through()})
		change(&r)
		c.answer(w, wire.TypeReceipt, r)
	}
}

// genuine returns the bytes of the receipt that would have been right.
func genuine(c *central, s visit.Segment) []byte {
	b, _ := wire.Encode(c.receipt(visit.Settlement{Journal: s.Journal, Through: s.Through()}))
	return b
}

func problem(status int, code, after string) func(*central, http.ResponseWriter, *http.Request, visit.Segment) {
	return func(c *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		w.Header().Set("Retry-After", after)
		c.refuse(w, status, code, "as told")
	}
}

const portal = "captive portal or proxy"

var faults = []fault{
	{"no answer at all", func(_ *central, _ http.ResponseWriter, r *http.Request, _ visit.Segment) { <-r.Context().Done() }, "no answer of the visit server in time"},
	{"connection cut before the answer", func(*central, http.ResponseWriter, *http.Request, visit.Segment) { panic(http.ErrAbortHandler) }, "EOF"},
	{"captive portal", func(_ *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		write(w, 200, "text/html", []byte("<html>Log in to Wi-Fi</html>"))
	}, portal},
	{"proxy error page", func(_ *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		write(w, 502, "text/html", []byte("<html>Bad gateway</html>"))
	}, portal},
	{"success without content", func(_ *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) { w.WriteHeader(204) }, portal},
	{"right body under another status", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		write(w, 202, wire.TypeReceipt, genuine(c, s))
	}, portal},
	{"wrong content type", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		write(w, 200, "application/cbor", genuine(c, s))
	}, portal},
	{"content type with a parameter", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		write(w, 200, wire.TypeReceipt+"; charset=utf-8", genuine(c, s))
	}, portal},
	{"two content types", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		w.Header().Add("Content-Type", wire.TypeReceipt)
		w.Header().Add("Content-Type", "text/html")
		w.Write(genuine(c, s))
	}, portal},
	{"truncated body", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		b := genuine(c, s)
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		write(w, 200, wire.TypeReceipt, b[:len(b)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, "unexpected EOF"},
	{"truncated body of the right length", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		b := genuine(c, s)
		write(w, 200, wire.TypeReceipt, b[:len(b)/2])
	}, portal},
	{"trailing bytes", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		write(w, 200, wire.TypeReceipt, append(genuine(c, s), 0))
	}, portal},
	{"oversized body", func(c *central, w http.ResponseWriter, _ *http.Request, s visit.Segment) {
		write(w, 200, wire.TypeReceipt, append(genuine(c, s), make([]byte, wire.MaxResponse)...))
	}, portal},
	{"receipt for another journal", forge(func(r *wire.Receipt) { r.Settled.Journal[3]++ }), "receipt is for journal"},
	{"receipt beyond the batch", forge(func(r *wire.Receipt) { r.Settled.Through++ }), "receipt settles through"},
	{"receipt of a heartbeat", forge(func(r *wire.Receipt) { r.Settled = visit.Settlement{} }), "receipt is for journal"},
	{"refusal outside the batch", forge(func(r *wire.Receipt) {
		r.Settled.Refused = []visit.Refusal{{Seq: r.Settled.Through + 1, Reason: "too-old"}}
	}), "receipt refuses record"},
	{"receipt without a time", forge(func(r *wire.Receipt) { r.ServerTime = 0 }), "server's time"},
	{"receipt that settles nothing", forge(func(r *wire.Receipt) { r.Settled.Through = 0 }), "stored none of"},
	{"429 of the server", problem(429, wire.CodeBusy, "0"), "server refuses (busy)"},
	{"503 of the server, a while", problem(503, wire.CodeBusy, "1"), "server refuses (busy)"},
	{"503 of the server, until a date by a clock of its own", func(c *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		w.Header().Set("Date", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		w.Header().Set("Retry-After", time.Unix(1e9+1, 0).UTC().Format(http.TimeFormat))
		c.refuse(w, 503, wire.CodeBusy, "")
	}, "server refuses (busy)"},
	{"503 of a load balancer", func(_ *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		write(w, 503, "text/html", nil)
	}, "not to be had (status 503)"},
	{"413 of a load balancer", func(_ *central, w http.ResponseWriter, _ *http.Request, _ visit.Segment) {
		write(w, 413, "text/html", nil)
	}, "not to be had (status 413)"},
	{"internal error of the server", problem(500, wire.CodeInternal, ""), "server refuses (internal)"},
	{"batch called malformed", problem(400, wire.CodeBadRequest, ""), "server refuses (bad-request)"},
	{"batch called too large", problem(413, wire.CodeTooLarge, ""), "server refuses (too-large)"},
}

// Every fault comes as: failed, failed but half of it persisted, failed but persisted. In the end everything appended is
// at the server exactly once.
func TestFaults(t *testing.T) {
	const records = 2300
	for _, persisted := range []struct {
		name string
		n    int
	}{{"failed", 0}, {"half persisted", 500}, {"failed but persisted", wire.MaxRecords}} {
		for _, f := range faults {
			t.Run(persisted.name+"/"+f.name, func(t *testing.T) {
				c := newCentral(t).start()
				g := newGateSide(t, c, records).enrolled()
				var batches atomic.Int32
				c.setFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
					if r.URL.Path != wire.PathVisits || batches.Add(1) != 2 {
						return false
					}
					b, err := wire.DecodeBatch(body)
					if err != nil {
						t.Error(err)
					}
					if persisted.n > 0 {
						c.store(body, persisted.n)
					}
					f.spoil(c, w, r, b.Segment)
					return true
				})
				u := g.uplink(func(o *Options) {
					if f.name == "no answer at all" {
						o.Timeout = 500 * time.Millisecond
					}
				})
				g.run(u, func() bool { return g.drained() && u.Status().LastError == "" })
				g.checkLedger()
				if !strings.Contains(g.log.String(), f.notice) {
					t.Errorf("the log does not say %q:\n%s", f.notice, g.log)
				}
				if g.log.count("level=WARN") != 1 || g.log.count("succeeded after 1 failures") != 1 {
					t.Errorf("want one warning and one word that it works again:\n%s", g.log)
				}
			})
		}
	}
}

func TestFaultsOfTheJournal(t *testing.T) {
	full := errors.New("no space left on device")
	type settle = struct{ before, after error }
	for _, f := range []struct {
		name   string
		break_ func(*memory)
	}{
		{"Peek failed", func(m *memory) { m.peekErrs = []error{full, full} }},
		{"Settle failed after the server stored", func(m *memory) { m.settleErrs = []settle{{before: full}, {before: full}} }},
		{"Settle failed but persisted", func(m *memory) { m.settleErrs = []settle{{after: full}} }},
		{"Settle failed, then failed but persisted", func(m *memory) { m.settleErrs = []settle{{before: full}, {after: full}} }},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newCentral(t).start()
			g := newGateSide(t, c, 2300).enrolled()
			f.break_(g.journal)
			u := g.uplink(nil)
			g.run(u, func() bool { return g.drained() && u.Status().LastError == "" })
			g.checkLedger()
			if c.batches != 3 {
				t.Errorf("%d batches were sent, want 3: none again because of the journal", c.batches)
			}
			if g.log.count("no space left on device") != 1 {
				t.Errorf("want one warning:\n%s", g.log)
			}
		})
	}
}

// The gate is stopped at every stage of an exchange and started anew over the same journal.
func TestCrashBetween(t *testing.T) {
	for _, persisted := range []int{0, 500, wire.MaxRecords} {
		for _, stage := range []string{"before the answer", "after the answer"} {
			t.Run(fmt.Sprintf("%d persisted, %s", persisted, stage), func(t *testing.T) {
				c := newCentral(t).start()
				g := newGateSide(t, c, 2300).enrolled()
				reached := make(chan struct{})
				var batches atomic.Int32
				c.setFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
					if r.URL.Path != wire.PathVisits || batches.Add(1) != 2 {
						return false
					}
					s := c.store(body, persisted)
					if stage == "after the answer" {
						through := min(s.Through(), s.Records[0].Seq-1+uint64(persisted))
						c.answer(w, wire.TypeReceipt, c.receipt(visit.Settlement{Journal: s.Journal, Through: through}))
						close(reached)
						return true
					}
					close(reached)
					<-r.Context().Done()
					return true
				})
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error)
				u := g.uplink(nil)
				go func() { ended <- u.Run(ctx) }()
				<-reached
				cancel()
				check(t, <-ended)
				c.setFault(nil)
				g.run(g.uplink(nil), g.drained)
				g.checkLedger()
			})
		}
	}
}

func TestPartialAcceptance(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 2300).enrolled()
	c.setFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if r.URL.Path != wire.PathVisits {
			return false
		}
		b, err := wire.DecodeBatch(body)
		if err != nil {
			t.Error(err)
		}
		s := b.Segment
		n := min(300, len(s.Records)) // stores 300 at a time but refuses every 100th for good
		settled := visit.Settlement{Journal: s.Journal, Through: s.Records[n-1].Seq}
		for _, rec := range s.Records[:n] {
			if rec.Seq%100 == 0 {
				settled.Refused = append(settled.Refused, visit.Refusal{Seq: rec.Seq, Reason: "unsealable"})
			} else {
				c.mu.Lock()
				c.visits[rec.Seq] = rec.Data
				c.mu.Unlock()
			}
		}
		c.answer(w, wire.TypeReceipt, c.receipt(settled))
		return true
	})
	g.run(g.uplink(nil), g.drained)
	g.checkLedger()
	if len(g.journal.quarantine) != 23 {
		t.Errorf("%d records in quarantine, want 23", len(g.journal.quarantine))
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	c := newCentral(t).start()
	g := newGateSide(t, c, 10).enrolled()
	var lured atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { lured.Add(1) }))
	defer trap.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var once atomic.Bool
		c.setFault(func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.URL.Path != wire.PathVisits || once.Swap(true) {
				return false
			}
			http.Redirect(w, r, trap.URL, status)
			return true
		})
		g.journal.append(5)
		g.run(g.uplink(nil), g.drained)
	}
	if lured.Load() != 0 || g.log.count(portal) != 5 {
		t.Errorf("%d requests were lured away; log:\n%s", lured.Load(), g.log)
	}
	g.checkLedger()
}

func TestServerThatCannotProveItself(t *testing.T) {
	for _, f := range []struct {
		name   string
		change func(c *central, o *Options)
		notice string
	}{
		{"an authority that is not ours", func(c *central, o *Options) { o.CA = newAuthority(c.t).pool }, "unknown authority"},
		{"another server's name", func(c *central, o *Options) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			check(c.t, err)
			u := *o.Server
			u.Host = l.Addr().String()
			o.Server = &u
			c.serve(l, c.authority.server(c.t, "portal.example"))
		}, "127.0.0.1"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := newCentral(t).start()
			g := newGateSide(t, c, 10).enrolled()
			u := g.uplink(func(o *Options) { f.change(c, o) })
			g.run(u, func() bool { return strings.Contains(u.Status().LastError, f.notice) })
			if g.journal.backlog() != 10 || c.batches+c.beats != 0 || u.Status().Reached {
				t.Errorf("backlog %d, %d requests arrived", g.journal.backlog(), c.batches+c.beats)
			}
			g.run(g.uplink(nil), g.drained)
			g.checkLedger()
		})
	}
}

func TestConnectionRefusedThenBack(t *testing.T) {
	c := newCentral(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	c.start()
	g := newGateSide(t, c, 100).enrolled()
	down := *c.url
	down.Host = l.Addr().String()
	check(t, l.Close())
	u := g.uplink(func(o *Options) { o.Server = &down })
	var back bool
	g.run(u, func() bool {
		if !back && strings.Contains(u.Status().LastError, "connection refused") {
			back = true
			l, err := net.Listen("tcp", down.Host)
			check(t, err)
			c.serve(l, c.authority.server(t))
		}
		return g.drained()
	})
	if !back || !u.Status().Reached {
		t.Errorf("status %+v", u.Status())
	}
	g.checkLedger()
}
