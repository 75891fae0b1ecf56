package sim

import (
	"os"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/protocol/day"
)

// Sabotage breaks one part of a run on purpose: a promise that nothing can break is held by nothing.
type Sabotage string

// What can be broken.
const (
	lyingDisk        Sabotage = "a gate's disk loses what it had said to be written"
	forgetfulStore   Sabotage = "the server's store says that it has taken what it has not"
	doubleStore      Sabotage = "the server's store takes every visit twice"
	hastyServer      Sabotage = "the server destroys days before their time"
	noDestroyer      Sabotage = "the server destroys nothing"
	slowLamp         Sabotage = "the lights come late"
	deadLamp         Sabotage = "the lights fail now and then"
	forgetfulGate    Sabotage = "a gate that is killed forgets the codes it has seen"
	doubleLamp       Sabotage = "the lights and the relay do everything twice"
	redLamp          Sabotage = "the lights refuse everybody"
	greenLamp        Sabotage = "the lights are green for everybody"
	stubbornStore    Sabotage = "the server's store takes nothing"
	lazyIssuers      Sabotage = "the issuers destroy nothing"
	silentList       Sabotage = "the contact list does not tell what is missing"
	timidList        Sabotage = "the contact list never calls itself complete"
	hoardingGate     Sabotage = "a gate keeps a copy of what it has delivered"
	sparedKey        Sabotage = "a copy of a day's key lies in another folder under another name"
	chattyIssuer     Sabotage = "an issuer writes down in the clear who its holders are"
	deafGates        Sabotage = "the gates do not hear a restored server ask for what it lacks"
	mutedAlarm       Sabotage = "nobody is told that a gate is offline"
	mutedDoubt       Sabotage = "the server does not tell that its clock is in doubt"
	falseAlert       Sabotage = "the server accuses a gate of a gap"
	falseAlarm       Sabotage = "a gate misses a reader that is there"
	staleLists       Sabotage = "the trust list without a revoked key reaches nobody"
	hastyIssuer      Sabotage = "an issuer signs with a key before gates know it"
	secretWipe       Sabotage = "a gate loses its disk and nobody reckons with it"
	blindOperator    Sabotage = "an operator acknowledges alerts before anybody reads them"
	lostRenewals     Sabotage = "the gates do not hear that their certificates are renewed"
	toughGate        Sabotage = "a gate goes on when it is revoked"
	blindIssuers     Sabotage = "the issuers do not look after their days, and one is damaged"
	falseDamage      Sabotage = "an issuer speaks of a damaged day"
	mutedIssuerDoubt Sabotage = "an issuer does not tell that its clock is in doubt"
	mutedOverdue     Sabotage = "the issuers destroy nothing and do not tell"
	mutedSpace       Sabotage = "an issuer whose disk is full says that it issues codes"
	falseEnd         Sabotage = "an issuer says that it issues no codes"
	mutedEnd         Sabotage = "an issuer does not tell that its signing key ends"
	wrongHolder      Sabotage = "the codes are somebody else's"
)

// sabotaged does something if this is what is broken in this run.
func (w *world) sabotaged(what Sabotage, do func()) {
	if w.opts.Sabotage == what {
		do()
	}
}

// lie lets a gate work all day without a network, and its disk forget that day when its power is cut.
func (w *world) lie() {
	g := w.gates[0]
	dir := filepath.Join(g.config.Place.State, "journal")
	g.stop()
	before := w.path("before")
	w.must(os.RemoveAll(before))
	w.must(os.CopyFS(before, os.DirFS(dir)))
	g.weather.change(func(c *conditions) { c.down = true })
	w.must(g.start())
	w.after(17*time.Hour, func() {
		g.stop()
		w.must(os.RemoveAll(dir))
		w.must(os.CopyFS(dir, os.DirFS(before)))
		g.weather.change(func(c *conditions) { c.down = false })
		w.must(g.start())
	})
}

func (w *world) must(err error) {
	if err != nil {
		w.violated("sabotage: %v", err)
	}
}

// really is who shows a holder's codes.
func (c *crowd) really(h *holder) *holder {
	if c.w.opts.Sabotage == wrongHolder {
		return &holder{issuer: h.issuer, phone: h.phone + "0"}
	}
	return h
}

// hoard lets a file outlive what it was made for, once.
func (w *world) hoard(from, to string) {
	if _, err := os.Stat(to); err == nil {
		return
	}
	content, err := os.ReadFile(from)
	w.must(err)
	w.must(os.WriteFile(to, content, 0o600))
}

// sabotageAtNight breaks what only shows weeks later.
func (w *world) sabotageAtNight() {
	w.sabotaged(hoardingGate, func() {
		state := w.gates[0].config.Place.State
		w.hoard(filepath.Join(state, "journal", "journal.db"), filepath.Join(state, "old"))
	})
	w.sabotaged(sparedKey, func() {
		dir := w.visits.folder.Dir
		w.hoard(filepath.Join(dir, "keys", "days", day.Of(w.begun).String()+".key"), filepath.Join(dir, "audit", "notes"))
	})
	g := w.gates[0]
	w.sabotaged(deafGates, w.restoreServer)
	w.sabotaged(staleLists, func() { w.revokeSigningKey(w.issuers[0]) })
	w.sabotaged(hastyIssuer, func() { w.rotateSigningKey(w.issuers[0]) })
	w.sabotaged(blindOperator, func() { w.copyGate(g) })
	w.sabotaged(toughGate, func() { w.revoke(g) })
	w.sabotaged(secretWipe, func() {
		w.wipe(g)
		g.weather.change(func(c *conditions) { c.down = !c.down })
	})
	w.sabotaged(blindIssuers, func() { w.blot(w.issuers[0], day.Of(w.begun)) })
	w.sabotaged(chattyIssuer, func() {
		w.must(os.WriteFile(filepath.Join(w.issuers[0].dir, "holders"), []byte(w.crowd.holders[0].phone), 0o600))
	})
}
