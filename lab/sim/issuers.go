package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
)

// What issuers alarm their operators with: metrics, health, and the audit log.

const (
	keyLife    = 2 * 365 * 24 * time.Hour // of a signing key, and
	keyWarning = 60 * 24 * time.Hour      // how long before its end the operator is told, see issuer/SPEC.md
	// checkSeldom is at which looks for days to destroy issuers look for damage too: seldom, for the sake of speed.
	checkSeldom = 24
)

// issuerSpace is the free space of an issuer's disk.
type issuerSpace struct{ full atomic.Bool }

// Check implements issuer.Space.
func (s *issuerSpace) Check() error {
	if s.full.Load() {
		return diskspace.ErrFull
	}
	return nil
}

// Run implements issuer.Space.
func (s *issuerSpace) Run(context.Context) {}

// issuersInTrouble tells whether this is one of the runs in which signing keys end and issuers' disks are full.
func (w *world) issuersInTrouble() bool { return w.opts.Seed%10 == 3 && !w.opts.Calm }

// issuing draws what happens to issuers, apart from the world's own course.
func (w *world) issuing(n uint64) *rand.Rand { return rand.New(rand.NewPCG(w.opts.Seed, 200+n)) }

// planIssuers lets the disk of each issuer be full now and then, and its operator make the next signing key before the one
// in use ends, or a while after.
func (w *world) planIssuers() {
	if !w.issuersInTrouble() {
		return
	}
	for n, i := range w.issuers {
		draw := w.issuing(1 + uint64(n))
		for range 1 + draw.IntN(1+w.opts.Days/8) {
			w.after(between(draw, time.Hour, time.Duration(w.opts.Days)*24*time.Hour), func() {
				w.trace("FAULT the disk of issuer %s is full", i.name)
				w.report.Faults["issuer's disk full"]++
				i.space.full.Store(true)
				w.after(between(draw, time.Minute, 30*time.Hour), func() { i.space.full.Store(false) })
			})
		}
		when := w.end(i).Add(between(draw, -20*24*time.Hour, 2*24*time.Hour))
		w.at(later(when, time.Now().Add(time.Hour)), func() { w.renew(i) })
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renew makes an issuer's next signing key where the end is near, as soon as all that is needed for it answers, and looks
// again.
func (w *world) renew(i *issuerParty) {
	next := 24 * time.Hour
	if time.Until(w.end(i)) < keyWarning {
		next = time.Hour
		w.rotateSigningKey(i)
	}
	w.after(next, func() { w.renew(i) })
}

// end is until when an issuer can issue codes, as its operator reads it in the register.
func (w *world) end(i *issuerParty) (end time.Time) {
	keys, err := i.registers().Keys()
	w.check("listing an issuer's keys", err)
	for _, k := range keys {
		if !k.From.IsZero() && k.NotAfter.After(end) {
			end = k.NotAfter
		}
	}
	return end
}

// issues tells whether an issuer can give out codes: one of its keys signs, and there is space.
func (w *world) issues(i *issuerParty) bool {
	keys, err := i.registers().Keys()
	w.check("listing an issuer's keys", err)
	signs := func(k issuer.KeyStatus) bool { return k.State == "signs" }
	return slices.ContainsFunc(keys, signs) && !i.space.full.Load()
}

// spoil takes note that what an issuer keeps of a day was damaged, and whether something of it is lost for certain.
func (i *issuerParty) spoil(d day.Day, lost bool) {
	i.spoilt[d], i.spoiltAt = i.spoilt[d] || lost, time.Now()
}

// loses tells for certain that something which stood in a bbolt file is nowhere in what became of it.
func loses(before, after []byte) (lost bool) {
	for at := 0; at+boltcheck.PageSize <= len(before); at += boltcheck.PageSize {
		carveLeaf(before[at:], func(_, value []byte) { lost = lost || !bytes.Contains(after, value) })
	}
	return lost
}

// blot takes all entries out of an issuer's day in such a way that the file is whole.
func (w *world) blot(i *issuerParty, d day.Day) {
	path := filepath.Join(i.dir, "days", d.String()+".db")
	before, err := os.ReadFile(path)
	w.must(err)
	after := slices.Clone(before)
	for at := 0; at+boltcheck.PageSize <= len(after); at += boltcheck.PageSize {
		carveLeaf(after[at:], func(_, value []byte) { clear(value) })
	}
	w.must(os.WriteFile(path, after, 0o600))
	i.spoil(d, loses(before, after))
}

func (i *issuerParty) ask(path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	(*i.handler.Load()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec
}

// issuerWarnings holds what an issuer tells its operator against what is wrong.
func (w *world) issuerWarnings(i *issuerParty) {
	m := readMetrics(i.ask(issuer.PathMetrics).Body.String())
	w.sabotaged(mutedIssuerDoubt, func() { m["kipass_issuer_clock_in_doubt"] = 0 })
	w.sabotaged(mutedOverdue, func() { m["kipass_issuer_overdue_seconds"] = 0 })
	w.sabotaged(mutedSpace, func() { m["kipass_issuer_issuing"] = 1 })
	w.sabotaged(falseEnd, func() { m["kipass_issuer_issuing"] = 0 })
	w.sabotaged(falseDamage, func() { m["kipass_issuer_damaged_days"] = 1 })
	w.issuingTold(i, m["kipass_issuer_issuing"] == 1)
	w.damageTold(i, int(m["kipass_issuer_damaged_days"]))

	i.clock.mu.Lock()
	off := i.clock.offset.Abs()
	i.clock.mu.Unlock()
	lost := time.Since(i.restoredAt) < proveLag
	switch doubted := m["kipass_issuer_clock_in_doubt"] > 0; {
	case off > doubtful && !doubted && !lost:
		w.violated("issuer %s's clock is off by %v, and it does not tell", i.name, off)
	case off == 0 && doubted && !lost && !w.lately(proveLag, issuerClock):
		w.violated("issuer %s doubts its clock without a cause", i.name)
	}
	var late time.Duration
	days := i.days()
	if len(days) > 0 {
		late = time.Since(slices.Min(days).DestroyAt())
	}
	switch overdue := seconds(m["kipass_issuer_overdue_seconds"]); {
	case late > dueLag && overdue == 0:
		w.violated("issuer %s keeps %v past its end, and does not tell", i.name, slices.Min(days))
	case overdue > dueLag && late <= 0 && off == 0:
		w.violated("issuer %s says that something is overdue by %v, without a cause", i.name, overdue)
	}
}

// issuingTold holds what an issuer says of its codes, and of the end of its keys, to the register of keys and to its disk.
func (w *world) issuingTold(i *issuerParty, told bool) {
	switch issues := w.issues(i); {
	case told && !issues:
		w.violated("issuer %s says that it issues codes, and issues none", i.name)
	case !told && issues:
		w.violated("issuer %s says that it issues no codes, and does", i.name)
	}
	var health issuer.Health
	rec := i.ask(issuer.PathHealth)
	w.check("reading an issuer's health", json.Unmarshal(rec.Body.Bytes(), &health))
	w.sabotaged(mutedEnd, func() { health.Warning = "" })
	if ok := rec.Code == http.StatusOK; ok != health.Issuing || ok != w.issues(i) {
		w.violated("issuer %s answers %d about its health, which is %+v", i.name, rec.Code, health)
	}
	near := w.end(i).Sub(i.clock.now()) < keyWarning
	switch warned := health.Warning != ""; {
	case near && !warned:
		w.violated("issuer %s's keys end at %s, and it does not tell", i.name, w.end(i))
	case !near && warned && w.issues(i):
		w.violated("issuer %s warns without a cause: %s", i.name, health.Warning)
	}
}

// damageTold holds what an issuer says of damaged days to what was damaged, and its audit log too.
func (w *world) damageTold(i *issuerParty, told int) {
	if time.Since(i.spoiltAt) < lookLag { // it may not have looked yet
		return
	}
	entries, _, err := i.service.Audit().Snapshot()
	w.check("reading an issuer's audit log", err)
	certain, possible := 0, 0
	for d, lost := range i.spoilt {
		if time.Since(d.DestroyAt()) < grace {
			possible++
		}
		if !lost || !time.Now().Before(d.DestroyAt()) {
			continue
		}
		certain++
		logged := slices.ContainsFunc(auditlog.Leaves(entries), func(leaf []byte) bool {
			e, err := auditlog.ParseEntry(leaf)
			return err == nil && e.Kind == auditlog.KindDamage && e.Day == d.String()
		})
		if !logged {
			w.violated("issuer %s's audit log does not tell that %v is damaged", i.name, d)
		}
	}
	switch {
	case told < certain:
		w.violated("issuer %s tells of %d damaged days, and lost something of %d", i.name, told, certain)
	case told > possible:
		w.violated("issuer %s tells of %d damaged days without a cause", i.name, told)
	}
}
