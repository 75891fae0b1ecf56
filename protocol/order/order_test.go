package order

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/veraison/go-cose"

	"github.com/kipass/kipass/internal/testkit"
)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var (
	kim, lee, stranger, park = testKey(1), testKey(2), testKey(3), testKey(4)
	now                      = time.Date(2020, 7, 10, 9, 0, 0, 0, time.UTC)
)

// The authority certifies with root; forgers have keys of their own.
var root, otherRoot = testKey(8), testKey(9)

const (
	recipient     = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
	authorityName = "질병관리본부"
)

func register(t testing.TB) Officers {
	t.Helper()
	r := testkit.Must(NewOfficers(Officer{"kim", pub(kim)}, Officer{"lee", pub(lee)}, Officer{"park", pub(park)}))(t)
	return r
}

func trusted(t testing.TB) Trusted {
	t.Helper()
	return Trusted{Officers: register(t), Root: pub(root)}
}

func sample() Order {
	return Order{
		ID: ID{1, 2, 3}, Case: "2020-0701-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-48 * time.Hour), To: now.Add(-24 * time.Hour),
		IssuedAt: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour),
	}
}

// certification is what the authority says of the sample's recipient.
func certification() Certification {
	return Certification{Authority: authorityName, Recipient: recipient, Entry: 12}
}

func certificate(t testing.TB, d Draft) Certificate {
	t.Helper()
	return testkit.Must(d.Certify(root, certification()))(t)
}

func signed(t testing.TB, o Order) []byte {
	t.Helper()
	d := testkit.Must(NewDraft(o))(t)
	return testkit.Must(d.Sign(kim, certificate(t, d)))(t)
}

func approved(t testing.TB, o Order) []byte {
	t.Helper()
	return testkit.Must(Approve(lee, signed(t, o)))(t)
}

// payload is what an officer signs, with whatever certificate.
func (d Draft) payload(t testing.TB, certificate []byte) []byte {
	t.Helper()
	w := d.wire
	w.Certificate = certificate
	return testkit.Must(encMode.Marshal(w))(t)
}

func TestApprovedOrderReadsBackWhole(t *testing.T) {
	d := testkit.Must(NewDraft(sample()))(t)
	c := certificate(t, d)
	got := testkit.Must(Verify(testkit.Must(Approve(lee, testkit.Must(d.Sign(kim, c))(t)))(t), trusted(t), now))(t)
	want := sample()
	want.Recipient, want.Digest = c, d.Digest()
	if got.Order != want || got.Approver != "lee" {
		t.Errorf("Verify = %+v, approved by %s", got.Order, got.Approver)
	}
	if c.Recipient != recipient || c.Authority != authorityName || c.Entry != 12 || c.Digest != d.Digest() || c.Root != KeyIDOf(pub(root)) ||
		!c.NotBefore.Equal(want.IssuedAt) || !c.NotAfter.Equal(want.Expires) {
		t.Errorf("certificate = %+v", c)
	}
}

func TestOrdersThatDoNotHold(t *testing.T) {
	d := testkit.Must(NewDraft(sample()))(t)
	p, c := d.particulars, []byte(certificate(t, d).raw)
	layer := func(key ed25519.PrivateKey, content string, payload []byte) []byte {
		raw := testkit.Must(sign1(key, content, payload))(t)
		return raw
	}
	payload := func(o Order) []byte { return testkit.Must(draft(o, p))(t).payload(t, c) }
	enclosed := func(signed []byte) []byte {
		raw := testkit.Must(p.enclose(signed))(t)
		return raw
	}
	signedBy := func(key ed25519.PrivateKey) []byte { return layer(key, contentOrder, payload(sample())) }
	whole := enclosed(layer(lee, contentApproval, signedBy(kim)))
	// changed alters the signed order within an approval and leaves the approval's signature as it was.
	changed := func() []byte {
		m := cose.NewSign1Message()
		testkit.Check(t, m.UnmarshalCBOR(layer(lee, contentApproval, signedBy(kim))))
		o := sample()
		o.Case = "2020-0701-18"
		m.Payload = layer(kim, contentOrder, payload(o))
		raw := testkit.Must(m.MarshalCBOR())(t)
		return enclosed(raw)
	}
	// disclosing shows other particulars than those signed for.
	disclosing := func(change func(*particulars)) []byte {
		other := p
		change(&other)
		return testkit.Must(other.enclose(layer(lee, contentApproval, signedBy(kim))))(t)
	}
	flipped := func(signature []byte) []byte {
		raw := bytes.Clone(whole)
		raw[bytes.Index(raw, signature)] ^= 1
		return raw
	}
	signatureOf := func(raw []byte) []byte { return raw[len(raw)-ed25519.SignatureSize:] }
	tests := map[string]struct {
		raw  []byte
		at   time.Time
		want error
	}{
		"not approved":                               {enclosed(signedBy(kim)), now, ErrMalformed},
		"approved by the officer who signed":         {enclosed(layer(kim, contentApproval, signedBy(kim))), now, ErrRefused},
		"approved by someone outside the register":   {enclosed(layer(stranger, contentApproval, signedBy(kim))), now, ErrRefused},
		"signed by someone outside the register":     {enclosed(layer(lee, contentApproval, signedBy(stranger))), now, ErrRefused},
		"signed by another officer than it names":    {enclosed(layer(lee, contentApproval, signedBy(park))), now, ErrRefused},
		"changed after approval":                     {changed(), now, ErrRefused},
		"a signed order within a signed order":       {enclosed(layer(lee, contentOrder, signedBy(kim))), now, ErrMalformed},
		"an approval within an approval":             {enclosed(layer(lee, contentApproval, layer(kim, contentApproval, payload(sample())))), now, ErrMalformed},
		"a bit of the outer signature flipped":       {flipped(signatureOf(layer(lee, contentApproval, signedBy(kim)))), now, ErrRefused},
		"a bit of the inner signature flipped":       {flipped(signatureOf(signedBy(kim))), now, ErrRefused},
		"another facility beside the signatures":     {disclosing(func(p *particulars) { p.facility = "gangnam-1" }), now, ErrRefused},
		"another purpose beside the signatures":      {disclosing(func(p *particulars) { p.purpose = "다른 목적" }), now, ErrRefused},
		"no purpose beside the signatures":           {disclosing(func(p *particulars) { p.purpose = "" }), now, ErrMalformed},
		"an issuer's form given to the visit server": {layer(lee, contentApproval, signedBy(kim)), now, ErrMalformed},
		"expired by a second":                        {whole, sample().Expires.Add(time.Second), ErrRefused},
		"issued in the future":                       {whole, sample().IssuedAt.Add(-MaxAhead - time.Second), ErrRefused},
		"empty":                                      {nil, now, ErrMalformed},
		"bytes after its end":                        {append(bytes.Clone(whole), 0), now, ErrMalformed},
		"longer than is read":                        {make([]byte, MaxOrder+1), now, ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(tt.raw, trusted(t), tt.at)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			if got != (Approved{}) {
				t.Errorf("Verify returned an order beside an error")
			}
		})
	}
	if _, err := Verify(whole, trusted(t), sample().Expires); err != nil {
		t.Errorf("at the last instant of its validity: %v", err)
	}
	if _, err := Verify(whole, Trusted{Root: pub(root)}, now); !errors.Is(err, ErrRefused) {
		t.Errorf("an empty register obeys: %v", err)
	}
}

func TestAnIssuerCannotTellPlaceOrPurpose(t *testing.T) {
	whole := approved(t, sample())
	raw := testkit.Must(ForIssuer(whole))(t)
	got := testkit.Must(VerifyForIssuer(raw, trusted(t), now))(t)
	want := sample()
	want.Facility, want.Purpose, want.Recipient, want.Digest = "", "", got.Recipient, got.Recipient.Digest
	if got.Order != want || got.Approver != "lee" || got.Recipient.Recipient != recipient {
		t.Errorf("VerifyForIssuer = %+v, approved by %s", got.Order, got.Approver)
	}
	for _, hidden := range []string{string(sample().Facility), sample().Purpose} {
		if bytes.Contains(raw, []byte(hidden)) {
			t.Errorf("%q is in what an issuer is given", hidden)
		}
		if !bytes.Contains(whole, []byte(hidden)) {
			t.Errorf("%q is not in what the visit server is given", hidden)
		}
	}
	again := testkit.Must(ForIssuer(approved(t, sample())))(t)
	if bytes.Equal(raw, again) {
		t.Error("two orders about one place look alike: the digest is not salted")
	}
	if _, err := VerifyForIssuer(whole, trusted(t), now); !errors.Is(err, ErrMalformed) {
		t.Errorf("the visit server's form given to an issuer: %v", err)
	}
}

func TestApproveRefusesOwnOrder(t *testing.T) {
	if _, err := Approve(kim, signed(t, sample())); !errors.Is(err, ErrRefused) {
		t.Errorf("Approve = %v, want ErrRefused", err)
	}
}

func TestLimitsOfAnOrder(t *testing.T) {
	tests := map[string]struct {
		change func(*Order)
		good   bool
	}{
		"window of exactly 14 days":  {func(o *Order) { o.From = o.To.Add(-MaxWindow) }, true},
		"window a second longer":     {func(o *Order) { o.From = o.To.Add(-MaxWindow - time.Second) }, false},
		"window without length":      {func(o *Order) { o.From = o.To }, false},
		"window up to the allowance": {func(o *Order) { o.To = o.IssuedAt.Add(MaxAhead) }, true},
		"window into the future":     {func(o *Order) { o.To = o.IssuedAt.Add(MaxAhead + time.Second) }, false},
		"valid for exactly 7 days":   {func(o *Order) { o.Expires = o.IssuedAt.Add(MaxValidity) }, true},
		"valid for longer":           {func(o *Order) { o.Expires = o.IssuedAt.Add(MaxValidity + time.Second) }, false},
		"expires when issued":        {func(o *Order) { o.Expires = o.IssuedAt }, false},
		"no id":                      {func(o *Order) { o.ID = ID{} }, false},
		"no case":                    {func(o *Order) { o.Case = "" }, false},
		"case too long":              {func(o *Order) { o.Case = strings.Repeat("7", maxCase+1) }, false},
		"case with a line end":       {func(o *Order) { o.Case = "1\n2" }, false},
		"case that is free text":     {func(o *Order) { o.Case = "서울 카페 2" }, false},
		"case without a digit":       {func(o *Order) { o.Case = "cafe" }, false},
		"no purpose":                 {func(o *Order) { o.Purpose = "" }, false},
		"purpose not UTF-8":          {func(o *Order) { o.Purpose = "\xff" }, false},
		"officer with a space":       {func(o *Order) { o.Officer = "kim lee" }, false},
		"facility not a name":        {func(o *Order) { o.Facility = "Hongdae 12" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := sample()
			tt.change(&o)
			_, err := NewDraft(o)
			if tt.good != (err == nil) {
				t.Fatalf("NewDraft = %v, want good = %v", err, tt.good)
			}
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("NewDraft = %v", err)
			}
		})
	}
}

// The verifying side holds the limits itself, whatever the signing side did.
func TestLimitsAreHeldWhenReading(t *testing.T) {
	d := testkit.Must(NewDraft(sample()))(t)
	d.wire.From = sample().To.Add(-MaxWindow - time.Second).Unix()
	d.digest = testkit.Must(d.wire.digest())(t)
	raw := testkit.Must(Approve(lee, testkit.Must(d.Sign(kim, certificate(t, d)))(t)))(t)
	if _, err := Verify(raw, trusted(t), now); !errors.Is(err, ErrRefused) || errors.Is(err, ErrRecipient) {
		t.Errorf("Verify = %v, want ErrRefused", err)
	}
}

func TestWindowIsHalfOpen(t *testing.T) {
	o := sample()
	for at, want := range map[time.Time]bool{
		o.From: true, o.From.Add(-time.Millisecond): false, o.To.Add(-time.Millisecond): true, o.To: false,
	} {
		if o.Covers(at) != want {
			t.Errorf("Covers(%v) = %v", at, !want)
		}
	}
}

func TestRegisterOfOfficers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "officers")
	if r, err := ReadOfficers(path); err != nil || r.Len() != 0 {
		t.Errorf("missing register = %d officers, %v", r.Len(), err)
	}
	for _, o := range []Officer{{"kim", pub(kim)}, {"lee", pub(lee)}} {
		testkit.Check(t, AppendOfficer(path, o))
	}
	for name, o := range map[string]Officer{
		"name twice": {"kim", pub(stranger)}, "key twice": {"park", pub(kim)}, "name with a space": {"a b", pub(stranger)},
		"comment as a name": {"#a b", pub(stranger)}, "short key": {"park", pub(stranger)[:31]},
	} {
		if err := AppendOfficer(path, o); err == nil {
			t.Errorf("%s: taken into the register", name)
		}
	}
	if err := RemoveOfficer(path, "park"); err == nil {
		t.Error("an officer who is not there was removed")
	}
	testkit.Check(t, AppendOfficer(path, Officer{"park", pub(park)}))
	testkit.Check(t, RemoveOfficer(path, "park"))
	r, err := ReadOfficers(path)
	if err != nil || r.Len() != 2 {
		t.Fatalf("register = %d officers, %v", r.Len(), err)
	}
	if o, ok := r.ByKey(KeyIDOf(pub(lee))); !ok || o.Name != "lee" || !o.Public.Equal(pub(lee)) {
		t.Errorf("lee's key finds %v, %v", o, ok)
	}
	for _, bad := range []string{"kim", "kim kipass-officer:AAAA", "kim " + FormatPublicKey(pub(kim)) + " x", "kim ed25519:AAAA"} {
		if _, err := ParseOfficers([]byte(bad)); err == nil {
			t.Errorf("register %q is read", bad)
		}
	}
}
