package order

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/testkit"
)

// Whoever is asked must refuse an order whose recipient the authority did not certify for this very order, although two
// officers signed it: a table over all that an officer could put in its place.
func TestOnlyARecipientThatTheAuthorityCertifiedGetsAnswers(t *testing.T) {
	d := testkit.Must(NewDraft(sample()))(t)
	other := sample()
	other.Facility = "gangnam-1"
	elsewhere := testkit.Must(NewDraft(other))(t)
	with := func(key ed25519.PrivateKey, d Draft, change func(*Certification)) []byte {
		c := certification()
		if change != nil {
			change(&c)
		}
		return []byte(testkit.Must(d.Certify(key, c))(t).raw)
	}
	flipped := with(root, d, nil)
	flipped[len(flipped)-1] ^= 1
	swapped := bytes.Replace(with(root, d, nil), []byte(recipient), []byte(testkit.Must(age.GenerateX25519Identity())(t).Recipient().String()), 1)
	claims := func(w wireCertificate) []byte {
		return testkit.Must(sign1(root, contentRecipient, testkit.Must(encMode.Marshal(w))(t)))(t)
	}
	wire := func(change func(*wireCertificate)) []byte {
		digest := d.Digest()
		w := wireCertificate{
			Issuer: authorityName, Subject: recipient, NotBefore: sample().IssuedAt.Unix(), Expires: sample().Expires.Unix(),
			Use: useAnswer, Order: digest[:], Entry: 12,
		}
		change(&w)
		return claims(w)
	}
	for what, c := range map[string]struct {
		certificate []byte
		trusted     Trusted
		says        string
	}{
		"none":                           {[]byte{}, trusted(t), "not a tagged COSE_Sign1"},
		"a bare key":                     {[]byte(recipient), trusted(t), "not a tagged COSE_Sign1"},
		"certified by an officer":        {with(kim, d, nil), trusted(t), "the authority's root set here is"},
		"of another authority":           {with(otherRoot, d, nil), trusted(t), "the authority's root set here is"},
		"changed":                        {flipped, trusted(t), "does not match the authority's root"},
		"another key put in":             {swapped, trusted(t), "does not match the authority's root"},
		"of another order":               {with(root, elsewhere, nil), trusted(t), "for another order"},
		"expired":                        {with(root, d, func(c *Certification) { c.NotAfter = now.Add(-time.Second) }), trusted(t), "expired at"},
		"not yet valid":                  {with(root, d, func(c *Certification) { c.NotBefore = now.Add(MaxAhead + time.Second) }), trusted(t), "holds only from"},
		"for another use":                {wire(func(w *wireCertificate) { w.Use = "trust-list" }), trusted(t), "not for the answers"},
		"for longer than any order":      {wire(func(w *wireCertificate) { w.Expires = w.NotBefore + int64(MaxValidity/time.Second) + 1 }), trusted(t), "at most"},
		"of nobody's name":               {wire(func(w *wireCertificate) { w.Issuer = "" }), trusted(t), "authority's name"},
		"for what is no key":             {wire(func(w *wireCertificate) { w.Subject = "age1xyz" }), trusted(t), "not an age X25519 recipient"},
		"for an SSH key":                 {wire(func(w *wireCertificate) { w.Subject = "ssh-ed25519 AAAA" }), trusted(t), "not an age X25519 recipient"},
		"for a key nothing is sealed to": {wire(func(w *wireCertificate) { w.Subject = lowOrderRecipient }), trusted(t), "not an age X25519 recipient"},
		"where no root is set":           {with(root, d, nil), Trusted{Officers: register(t)}, "no authority's root is set"},
		"where a root of nobody is set":  {with(root, d, nil), Trusted{Officers: register(t), Root: make([]byte, 32)}, "small order"},
	} {
		t.Run(what, func(t *testing.T) {
			signed := testkit.Must(d.particulars.enclose(testkit.Must(sign1(kim, contentOrder, d.payload(t, c.certificate)))(t)))(t)
			whole := testkit.Must(Approve(lee, signed))(t)
			_, before := ReadSigned(signed, c.trusted, now)
			_, visits := Verify(whole, c.trusted, now)
			_, issuer := VerifyForIssuer(testkit.Must(ForIssuer(whole))(t), c.trusted, now)
			for who, err := range map[string]error{"approver": before, "visit server": visits, "issuer": issuer} {
				var refused *RecipientError
				if !errors.As(err, &refused) || !errors.Is(err, ErrRefused) || !errors.Is(err, ErrRecipient) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%s: %v, want one that says %q", who, err, c.says)
				}
				if refused.Order.Case != sample().Case || refused.Order.Recipient != (Certificate{}) {
					t.Errorf("%s: it tells of %+v", who, refused.Order)
				}
			}
		})
	}
	if _, err := d.Sign(kim, testkit.Must(elsewhere.Certify(root, certification()))(t)); err == nil {
		t.Error("an order is signed with a certificate for another one")
	}
}

// lowOrderRecipient is the point 0, to which X25519 agrees on zeros with anybody (RFC 7748 section 6.1).
const lowOrderRecipient = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z"

func TestFingerprintIsOfTheKeyAlone(t *testing.T) {
	a, b := certification(), certification()
	b.Entry++
	if a.Fingerprint() != b.Fingerprint() || len(a.Fingerprint()) != 24 {
		t.Errorf("fingerprints %q and %q", a.Fingerprint(), b.Fingerprint())
	}
	if b.Recipient = lowOrderRecipient; a.Fingerprint() == b.Fingerprint() {
		t.Error("two keys have one fingerprint")
	}
}

func TestRootKeyIsReadAsItWasWritten(t *testing.T) {
	path := t.TempDir() + "/authority"
	if pub, err := ReadRoot(path); err != nil || pub != nil {
		t.Errorf("before it is set: %x, %v", []byte(pub), err)
	}
	for _, key := range []ed25519.PrivateKey{root, otherRoot} {
		testkit.Check(t, WriteRoot(path, pub(key)))
		if got, err := ReadRoot(path); err != nil || !got.Equal(pub(key)) {
			t.Errorf("ReadRoot = %x, %v", []byte(got), err)
		}
	}
	if _, err := ParseRoot(FormatPublicKey(pub(kim))); err == nil {
		t.Error("an officer's key is taken for the authority's")
	}
	for what, key := range testkit.BadKeys(t) {
		if err := WriteRoot(path, ed25519.PublicKey(key)); err == nil {
			t.Errorf("%s: it is written as a root", what)
		}
	}
}
