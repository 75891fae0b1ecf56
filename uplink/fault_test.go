package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// Every fault comes as: failed, failed but half of it persisted, failed but persisted. In the end everything appended is
// at the server exactly once.
func TestFaults(t *testing.T) {
	for _, persisted := range []struct {
		name string
		n    int
	}{{"failed", 0}, {"half persisted", 500}, {"failed but persisted", wire.MaxRecords}} {
		for _, s := range spoilers {
			t.Run(persisted.name+"/"+s.name, bubble(func(t *testing.T) {
				f := newFixture(t, 2300).enrolled()
				f.onBatch(2, func(x exchanged) {
					if persisted.n > 0 {
						x.keep(persisted.n)
					}
					s.answer(x)
				})
				u := f.uplink(nil)
				f.run(u, func() bool { return f.drained() && u.Status().LastError == "" })
				f.checkLedger()
				if !strings.Contains(f.logged.String(), s.notice) {
					t.Errorf("the log does not say %q:\n%s", s.notice, f.logged)
				}
				if f.logged.Count("level=WARN") != 1 || f.logged.Count("succeeded after 1 failures") != 1 {
					t.Errorf("want one warning and one word that it works again:\n%s", f.logged)
				}
			}))
		}
	}
}

func TestFaultsOfTheJournal(t *testing.T) {
	full := errors.New("no space left on device")
	for _, c := range []struct {
		name  string
		fault func(*memoryJournal)
	}{
		{"Peek failed", func(j *memoryJournal) { j.peekErrs = []error{full, full} }},
		{"Settle failed after the server stored", func(j *memoryJournal) { j.settleErrs = []settleFault{{before: full}, {before: full}} }},
		{"Settle failed but persisted", func(j *memoryJournal) { j.settleErrs = []settleFault{{after: full}} }},
		{"Settle failed, then failed but persisted", func(j *memoryJournal) {
			j.settleErrs = []settleFault{{before: full}, {after: full}}
		}},
	} {
		t.Run(c.name, bubble(func(t *testing.T) {
			f := newFixture(t, 2300).enrolled()
			c.fault(f.journal)
			u := f.uplink(nil)
			f.run(u, func() bool { return f.drained() && u.Status().LastError == "" })
			f.checkLedger()
			if n := f.server.Counts().Batches; n != 3 {
				t.Errorf("%d batches were sent, want 3: none again because of the journal", n)
			}
			if f.logged.Count("no space left on device") != 1 {
				t.Errorf("want one warning:\n%s", f.logged)
			}
		}))
	}
}

// The gate is stopped at every stage of an exchange and started anew over the same journal.
func TestCrashBetween(t *testing.T) {
	for _, persisted := range []int{0, 500, wire.MaxRecords} {
		for _, stage := range []string{"before the answer", "after the answer"} {
			t.Run(fmt.Sprintf("%d persisted, %s", persisted, stage), bubble(func(t *testing.T) {
				f := newFixture(t, 2300).enrolled()
				reached := make(chan struct{})
				f.onBatch(2, func(x exchanged) {
					x.keep(persisted)
					if stage == "before the answer" {
						close(reached)
						<-x.r.Context().Done()
						return
					}
					settled := x.settled()
					settled.Through = min(settled.Through, x.segment.Records[0].Seq-1+uint64(persisted))
					x.server.Answer(x.w, wire.TypeReceipt, x.server.Receipt(settled))
					close(reached)
				})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				u := f.uplink(nil)
				go func() { ended <- u.Run(ctx) }()
				<-reached
				cancel()
				testkit.Check(t, <-ended)
				f.server.SetFault(nil)
				f.run(f.uplink(nil), f.drained)
				f.checkLedger()
			}))
		}
	}
}

func TestPartialAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 2300).enrolled()
		f.server.SetFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.URL.Path != wire.PathVisits {
				return false
			}
			segment := f.server.Segment(body)
			part := segment // stores 300 at a time but refuses every 100th for good
			part.Records = nil
			settled := visit.Settlement{Journal: segment.Journal}
			for _, rec := range segment.Records[:min(300, len(segment.Records))] {
				settled.Through = rec.Seq
				if rec.Seq%100 == 0 {
					settled.Refused = append(settled.Refused, visit.Refusal{Seq: rec.Seq, Reason: "unsealable"})
				} else {
					part.Records = append(part.Records, rec)
				}
			}
			f.server.Keep(part)
			f.server.Answer(w, wire.TypeReceipt, f.server.Receipt(settled))
			return true
		})
		f.run(f.uplink(nil), f.drained)
		f.checkLedger()
		if len(f.journal.quarantine) != 23 {
			t.Errorf("%d records in quarantine, want 23", len(f.journal.quarantine))
		}
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10).enrolled()
		trap := fakevisits.New(t)
		trap.Serve(f.listen("trap.test:443"), "trap.test")
		for _, status := range []int{301, 302, 303, 307, 308} {
			f.onBatch(1, func(x exchanged) { http.Redirect(x.w, x.r, "https://trap.test/", status) })
			f.journal.append(5)
			f.run(f.uplink(nil), f.drained)
		}
		if n := trap.Counts().Connections; n != 0 || f.logged.Count(portal) != 5 {
			t.Errorf("lured away %d times; log:\n%s", n, f.logged)
		}
		f.checkLedger()
	})
}

func TestServerThatCannotProveItself(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(f *fixture, opts *Options)
		notice string
	}{
		{"an authority that is not ours", func(f *fixture, opts *Options) { opts.CA = fakevisits.New(f.t).Pool }, "unknown authority"},
		{"another server's name", func(f *fixture, opts *Options) {
			opts.Server = &url.URL{Scheme: "https", Host: "portal.test"}
			f.server.Serve(f.listen("portal.test:443"), serverHost)
		}, "portal.test"},
	} {
		t.Run(c.name, bubble(func(t *testing.T) {
			f := newFixture(t, 10).enrolled()
			u := f.uplink(func(opts *Options) { c.change(f, opts) })
			f.run(u, func() bool { return strings.Contains(u.Status().LastError, c.notice) })
			counts := f.server.Counts()
			if f.journal.backlog() != 10 || counts.Batches+counts.Heartbeats != 0 || u.Status().Reached {
				t.Errorf("backlog %d, server has seen %+v", f.journal.backlog(), counts)
			}
			f.run(f.uplink(nil), f.drained)
			f.checkLedger()
		}))
	}
}

func TestConnectionRefusedThenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 100).enrolled()
		u := f.uplink(func(opts *Options) { opts.Server = &url.URL{Scheme: "https", Host: "down.test"} })
		back := false
		f.run(u, func() bool {
			if !back && strings.Contains(u.Status().LastError, "connection refused") {
				back = true
				f.server.Serve(f.listen("down.test:443"), "down.test")
			}
			return f.drained()
		})
		if !back || !u.Status().Reached {
			t.Errorf("status %+v", u.Status())
		}
		f.checkLedger()
	})
}
