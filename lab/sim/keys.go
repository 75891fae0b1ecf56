package sim

import (
	"crypto/ed25519"
	"crypto/rand"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/issuer"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/visitserver"
)

// ofKeys is what becomes of keys, with how often it does.
var ofKeys = []fault{
	{"trust list renewed", 1, func(w *world, _ *gateParty) { w.publish() }},
	{"sealing key rotated", 2, func(w *world, _ *gateParty) { w.rotateSealKey() }},
	{"signing key rotated", 2, func(w *world, _ *gateParty) { w.rotateSigningKey(w.anIssuer()) }},
	{"signing key revoked", 1, func(w *world, _ *gateParty) { w.revokeSigningKey(w.anIssuer()) }},
}

func (w *world) anIssuer() *issuerParty { return w.issuers[w.rng.IntN(len(w.issuers))] }

// publish has the scheme's operator sign a trust list of what the issuers say, and the visit server's install it; false if
// the server is not there to take it.
func (w *world) publish() bool {
	if !w.answers() {
		return false
	}
	for _, i := range w.issuers {
		about, err := issuer.Describe(i.dir, "https://"+i.name, i.clock.now())
		w.check("describing an issuer", err)
		i.about = about
	}
	list, err := w.scheme.sign(w.issuers)
	w.check("signing a trust list", err)
	w.trace("trust list %d", w.scheme.version)
	if w.opts.Sabotage != staleLists {
		w.check("installing a trust list", w.visits.operate(visitserver.AdminRequest{Command: "trust-list", File: list}, nil))
	}
	w.scheme.changed = time.Now()
	return true
}

// rotateSealKey takes another sealing key into use, and a backup after it, as docs/setup.md tells.
func (w *world) rotateSealKey() {
	if w.backup != nil || !w.answers() { // that backup would lack the key
		return
	}
	if err := w.visits.operate(visitserver.AdminRequest{Command: "seal-key rotate"}, nil); err != nil {
		w.trace("%v", err) // one a day
	}
}

// rotateSigningKey makes an issuer's next key: it stands in a trust list for a week before it signs.
func (w *world) rotateSigningKey(i *issuerParty) {
	if !w.answers() {
		return
	}
	made, err := i.registers().RotateKey()
	if err != nil {
		w.trace("issuer %s: %v", i.name, err) // one waits already
		return
	}
	if w.opts.Sabotage == hastyIssuer { // goes by a list that nobody has
		about, err := issuer.Describe(i.dir, "https://"+i.name, i.clock.now())
		w.check("describing an issuer", err)
		w.scheme.meet(about)
		w.activate(i, token.TrustList{Issuers: []token.Issuer{about}}, true)
		return
	}
	w.trace("issuer %s has made key %s", i.name, made.ID())
	if w.publish() {
		w.activate(i, w.scheme.list, false)
	}
}

// activate puts the next key to use and has the issuer take it up.
func (w *world) activate(i *issuerParty, list token.TrustList, atOnce bool) {
	_, err := i.registers().ActivateKey(list, atOnce)
	w.check("putting a signing key to use", err)
	i.close()
	w.check("issuer "+i.name+" with another key", i.open(w))
}

// revokeSigningKey takes the key with which an issuer signs off the trust list, since somebody else has it, and puts another
// to use at once. The thief goes on making codes of now.
func (w *world) revokeSigningKey(i *issuerParty) {
	if !w.answers() {
		return
	}
	keys, err := i.registers().Keys()
	w.check("listing an issuer's keys", err)
	waits := false
	for _, k := range keys {
		waits = waits || k.State == "waits"
		if k.State == "comes" { // it would take the place of the one made now
			return
		}
	}
	if !waits {
		_, err := i.registers().RotateKey()
		w.check("making a signing key", err)
	}
	var stolen ed25519.PrivateKey
	for _, k := range keys {
		if k.State == "waits" {
			continue
		}
		i.revoked[k.ID()] = true
		if k.State == "signs" {
			stolen, err = keyfile.ReadEd25519(filepath.Join(issuer.SecretDir(i.dir, ""), "signing-"+k.ID()+".key"))
			w.check("stealing a key", err)
		}
	}
	w.trace("the keys of issuer %s are revoked", i.name)
	i.rekeyed = time.Now()
	if !w.publish() {
		w.violated("the trust list is not installed")
	}
	w.activate(i, w.scheme.list, true)
	for range 4 {
		w.after(w.between(2*soundAfter, 3*24*time.Hour), func() { w.forge(i, stolen) })
	}
}

// forge shows a code of now, signed with a key that is revoked, at every gate that has had time to hear of it.
func (w *world) forge(i *issuerParty, key ed25519.PrivateKey) {
	if key == nil || !i.clock.right() {
		return
	}
	for _, g := range w.gates {
		if !w.sound(g) {
			continue
		}
		var cti token.CTI
		_, _ = rand.Read(cti[:])
		text, err := token.Sign(key, i.name, time.Now().Truncate(time.Second), cti)
		w.check("forging a code", err)
		w.crowd.show(g, nil, text, 3*time.Second)
	}
}

func (i *issuerParty) registers() issuer.Registers {
	return issuer.Registers{Dir: i.dir, Now: i.clock.now}
}
