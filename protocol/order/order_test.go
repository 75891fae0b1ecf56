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

const recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"

func register(t testing.TB) Officers {
	t.Helper()
	r := testkit.Must(NewOfficers(Officer{"kim", pub(kim)}, Officer{"lee", pub(lee)}, Officer{"park", pub(park)}))(t)
	return r
}

func sample() Order {
	return Order{
		ID: ID{1, 2, 3}, Case: "2020-0701-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-48 * time.Hour), To: now.Add(-24 * time.Hour), Recipient: recipient,
		IssuedAt: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour),
	}
}

func approved(t testing.TB, o Order) []byte {
	t.Helper()
	return testkit.Must(Approve(lee, testkit.Must(Sign(kim, o))(t)))(t)
}

func TestApprovedOrderReadsBackWhole(t *testing.T) {
	got := testkit.Must(Verify(approved(t, sample()), register(t), now))(t)
	if got.Order != sample() || got.Approver != "lee" {
		t.Errorf("Verify = %+v, approved by %s", got.Order, got.Approver)
	}
}

func TestOrdersThatDoNotHold(t *testing.T) {
	p := testkit.Must(newPlace(sample().Facility))(t)
	layer := func(key ed25519.PrivateKey, content string, payload []byte) []byte {
		raw := testkit.Must(sign1(key, content, payload))(t)
		return raw
	}
	payload := func(o Order) []byte {
		b := testkit.Must(o.marshal(p.digest()))(t)
		return b
	}
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
	// elsewhere discloses another facility than the one signed for.
	elsewhere := func() []byte {
		other := p
		other.facility = "gangnam-1"
		raw := testkit.Must(other.enclose(layer(lee, contentApproval, signedBy(kim))))(t)
		return raw
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
		"another facility beside the signatures":     {elsewhere(), now, ErrRefused},
		"an issuer's form given to the visit server": {layer(lee, contentApproval, signedBy(kim)), now, ErrMalformed},
		"expired by a second":                        {whole, sample().Expires.Add(time.Second), ErrRefused},
		"issued in the future":                       {whole, sample().IssuedAt.Add(-MaxAhead - time.Second), ErrRefused},
		"empty":                                      {nil, now, ErrMalformed},
		"bytes after its end":                        {append(bytes.Clone(whole), 0), now, ErrMalformed},
		"longer than is read":                        {make([]byte, MaxOrder+1), now, ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(tt.raw, register(t), tt.at)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
			if got != (Approved{}) {
				t.Errorf("Verify returned an order beside an error")
			}
		})
	}
	if _, err := Verify(whole, register(t), sample().Expires); err != nil {
		t.Errorf("at the last instant of its validity: %v", err)
	}
	if _, err := Verify(whole, Officers{}, now); !errors.Is(err, ErrRefused) {
		t.Errorf("an empty register obeys: %v", err)
	}
}

func TestAnIssuerCannotTellThePlace(t *testing.T) {
	whole := approved(t, sample())
	raw := testkit.Must(WithoutPlace(whole))(t)
	got := testkit.Must(VerifyWithoutPlace(raw, register(t), now))(t)
	want := sample()
	want.Facility = ""
	if got.Order != want || got.Approver != "lee" {
		t.Errorf("VerifyWithoutPlace = %+v, approved by %s", got.Order, got.Approver)
	}
	if bytes.Contains(raw, []byte(sample().Facility)) {
		t.Error("the facility's name is in what an issuer is given")
	}
	again := approved(t, sample())
	other := testkit.Must(WithoutPlace(again))(t)
	if bytes.Equal(raw, other) {
		t.Error("two orders about one place look alike: the digest is not salted")
	}
	if _, err := VerifyWithoutPlace(whole, register(t), now); !errors.Is(err, ErrMalformed) {
		t.Errorf("the visit server's form given to an issuer: %v", err)
	}
}

func TestApproveRefusesOwnOrder(t *testing.T) {
	signed := testkit.Must(Sign(kim, sample()))(t)
	if _, err := Approve(kim, signed); !errors.Is(err, ErrRefused) {
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
		"case too long":              {func(o *Order) { o.Case = strings.Repeat("x", maxCase+1) }, false},
		"case with a line end":       {func(o *Order) { o.Case = "a\nb" }, false},
		"no purpose":                 {func(o *Order) { o.Purpose = "" }, false},
		"purpose not UTF-8":          {func(o *Order) { o.Purpose = "\xff" }, false},
		"officer with a space":       {func(o *Order) { o.Officer = "kim lee" }, false},
		"facility not a name":        {func(o *Order) { o.Facility = "Hongdae 12" }, false},
		"recipient not an age key":   {func(o *Order) { o.Recipient = "age1xyz" }, false},
		"recipient an SSH key":       {func(o *Order) { o.Recipient = "ssh-ed25519 AAAA" }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := sample()
			tt.change(&o)
			signed, err := Sign(kim, o)
			if tt.good != (err == nil) {
				t.Fatalf("Sign = %v, want good = %v", err, tt.good)
			}
			if err != nil && (!errors.Is(err, ErrRefused) || signed != nil) {
				t.Errorf("Sign = %d bytes, %v", len(signed), err)
			}
		})
	}
}

// The verifying side holds the limits itself, whatever the signing side did.
func TestLimitsAreHeldWhenReading(t *testing.T) {
	o := sample()
	p := testkit.Must(newPlace(o.Facility))(t)
	digest := p.digest()
	b := testkit.Must(encMode.Marshal(wireOrder{
		Format: orderFormat, ID: o.ID[:], Case: o.Case, Officer: o.Officer, Purpose: o.Purpose, Place: digest[:],
		From: o.To.Add(-MaxWindow - time.Second).Unix(), To: o.To.Unix(), Recipient: o.Recipient, IssuedAt: o.IssuedAt.Unix(), Expires: o.Expires.Unix(),
	}))(t)
	signed := testkit.Must(p.enclose(testkit.Must(sign1(kim, contentOrder, b))(t)))(t)
	raw := testkit.Must(Approve(lee, signed))(t)
	if _, err := Verify(raw, register(t), now); !errors.Is(err, ErrRefused) {
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
