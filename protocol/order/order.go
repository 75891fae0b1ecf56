// Package order is the signed order with which the health authority asks for visits and for the holders of codes, its
// approval by a second officer, and the messages exchanged under it. Visit server, issuer and inquiry share it; SPEC.md
// specifies it. An order is good only if one officer signed it, a different one approved those very bytes, both are in
// the register of the side that is asked, the authority certified the key its answers are encrypted to, and its time has
// not run out.
package order

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/visit"
)

// Limits of an order. They bound what two officers together can ask for.
const (
	// MaxWindow is the longest span an order may ask about: 14 days, the longest incubation period in the guidance.
	MaxWindow = 14 * 24 * time.Hour
	// MaxValidity is the longest time from IssuedAt to Expires.
	MaxValidity = 7 * 24 * time.Hour
	// MaxAhead is how far the window may reach beyond IssuedAt, for clocks that differ: an order looks back.
	MaxAhead = 5 * time.Minute
	// MaxOrder is the longest signed or approved order that is read, in bytes.
	MaxOrder = 4 << 10

	maxCase    = 32  // bytes
	maxName    = 64  // bytes, of an officer
	maxPurpose = 256 // bytes
)

// ErrMalformed is wrapped by errors about bytes that are not an order at all, ErrRefused by errors about an order that
// does not hold: forged, self-approved, expired, by an unknown officer, or beyond the limits.
var (
	ErrMalformed = errors.New("not a well-formed order")
	ErrRefused   = errors.New("order refused")
)

// ID names an order: 16 random bytes.
type ID [16]byte

// NewID returns a fresh ID.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("order id %q is not 32 hexadecimal digits", s)
	}
	return ID(b), nil
}

// Order asks for the visits of one facility in one window. Times are whole seconds.
type Order struct {
	ID        ID
	Case      string         // case number, 1 to 32 of letters, digits and '-', one digit at least: public logs show it
	Officer   string         // who signed, as in the register of officers
	Purpose   string         // 1 to 256 bytes; empty where an issuer reads the order
	Facility  visit.Facility // the place asked about; empty where an issuer reads the order
	From      time.Time      // first instant asked about, inclusive
	To        time.Time      // end of the window, exclusive
	IssuedAt  time.Time
	Expires   time.Time   // last instant at which the order is obeyed, inclusive
	Digest    [32]byte    // of all of it but the recipient, which is certified for it; set where an order is read
	Recipient Certificate // the one key to which every answer is encrypted; set where an order is read
}

// Covers reports whether a scan at t falls into the window.
func (o Order) Covers(t time.Time) bool { return !t.Before(o.From) && t.Before(o.To) }

const orderFormat = 1

type wireOrder struct {
	Format      uint8  `cbor:"0,keyasint"`
	ID          []byte `cbor:"1,keyasint"`
	Case        string `cbor:"2,keyasint"`
	Officer     string `cbor:"3,keyasint"`
	Particulars []byte `cbor:"4,keyasint"` // digest of facility and purpose
	From        int64  `cbor:"5,keyasint"`
	To          int64  `cbor:"6,keyasint"`
	IssuedAt    int64  `cbor:"7,keyasint"`
	Expires     int64  `cbor:"8,keyasint"`
	Certificate []byte `cbor:"9,keyasint"` // of the recipient; empty in what the certificate is about
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 5, MaxArrayElements: MaxScans, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wire returns an order without its certificate.
func (o Order) wire(particulars [32]byte) (wireOrder, error) {
	if err := o.check(); err != nil {
		return wireOrder{}, err
	}
	return wireOrder{
		Format: orderFormat, ID: o.ID[:], Case: o.Case, Officer: o.Officer, Particulars: particulars[:],
		From: o.From.Unix(), To: o.To.Unix(), IssuedAt: o.IssuedAt.Unix(), Expires: o.Expires.Unix(), Certificate: []byte{},
	}, nil
}

const orderLabel = "kipass order v1"

// digest is what the authority certifies a recipient for: SHA-256 of the label and the order with an empty certificate.
func (w wireOrder) digest() ([32]byte, error) {
	w.Certificate = []byte{}
	b, err := encMode.Marshal(w)
	if err != nil {
		return [32]byte{}, fmt.Errorf("encoding an order: %w", err)
	}
	return sha256.Sum256(append([]byte(orderLabel), b...)), nil
}

// unmarshal reads an order, without its particulars and its recipient, which are yet to be checked.
func unmarshal(payload []byte) (Order, wireOrder, error) {
	var w wireOrder
	if err := decMode.Unmarshal(payload, &w); err != nil {
		return Order{}, wireOrder{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	o, err := w.order()
	if err != nil {
		return Order{}, wireOrder{}, err
	}
	if o.Digest, err = w.digest(); err != nil {
		return Order{}, wireOrder{}, err
	}
	again, err := encMode.Marshal(w)
	if err != nil || !bytes.Equal(again, payload) {
		return Order{}, wireOrder{}, fmt.Errorf("%w: not deterministically encoded", ErrMalformed)
	}
	return o, w, nil
}

func (w wireOrder) order() (Order, error) {
	if w.Format != orderFormat {
		return Order{}, fmt.Errorf("%w: format %d, this program reads format %d", ErrMalformed, w.Format, orderFormat)
	}
	if len(w.ID) != len(ID{}) {
		return Order{}, fmt.Errorf("%w: id of %d bytes, must be %d", ErrMalformed, len(w.ID), len(ID{}))
	}
	if len(w.Particulars) != sha256.Size {
		return Order{}, fmt.Errorf("%w: digest of the particulars of %d bytes, must be %d", ErrMalformed, len(w.Particulars), sha256.Size)
	}
	for _, sec := range []int64{w.From, w.To, w.IssuedAt, w.Expires} {
		if sec <= 0 || sec > maxTime {
			return Order{}, fmt.Errorf("%w: time %d is out of range", ErrMalformed, sec)
		}
	}
	at := func(sec int64) time.Time { return time.Unix(sec, 0).UTC() }
	o := Order{
		ID: ID(w.ID), Case: w.Case, Officer: w.Officer,
		From: at(w.From), To: at(w.To), IssuedAt: at(w.IssuedAt), Expires: at(w.Expires),
	}
	return o, o.check()
}

// maxTime (year 9999) keeps arithmetic on times far from overflow.
const maxTime = 253402300799

func (o Order) check() error {
	if o.ID == (ID{}) {
		return fmt.Errorf("%w: no id", ErrRefused)
	}
	if err := checkCase(o.Case); err != nil {
		return err
	}
	if err := checkOfficer(o.Officer); err != nil {
		return err
	}
	from, to, issued, expires := o.From.Unix(), o.To.Unix(), o.IssuedAt.Unix(), o.Expires.Unix()
	switch {
	case to <= from:
		return fmt.Errorf("%w: the window ends before it begins", ErrRefused)
	case to-from > int64(MaxWindow/time.Second):
		return fmt.Errorf("%w: the window is longer than %v", ErrRefused, MaxWindow)
	case to-issued > int64(MaxAhead/time.Second):
		return fmt.Errorf("%w: the window reaches more than %v beyond the time of issue", ErrRefused, MaxAhead)
	case expires <= issued:
		return fmt.Errorf("%w: expires before it was issued", ErrRefused)
	case expires-issued > int64(MaxValidity/time.Second):
		return fmt.Errorf("%w: valid for longer than %v", ErrRefused, MaxValidity)
	}
	return nil
}

// checkCase refuses what is no number: a case number stands in every party's public log, where no free text may.
func checkCase(s string) error {
	letters := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
	digits := func(r rune) bool { return r >= '0' && r <= '9' }
	stray := func(r rune) bool { return !letters(r) && !digits(r) && r != '-' }
	if len(s) == 0 || len(s) > maxCase || strings.ContainsFunc(s, stray) || !strings.ContainsFunc(s, digits) {
		return fmt.Errorf("%w: case number must be 1 to %d of A-Z, a-z, 0-9 and '-' with a digit, for example 2020-0001",
			ErrRefused, maxCase)
	}
	return nil
}

func checkText(what, s string, maxBytes int) error {
	if len(s) == 0 || len(s) > maxBytes || strings.TrimSpace(s) != s {
		return fmt.Errorf("%w: %s must be 1 to %d bytes without spaces around it, is %d", ErrRefused, what, maxBytes, len(s))
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%w: %s holds characters that cannot be printed", ErrRefused, what)
	}
	return nil
}

func checkOfficer(name string) error {
	if err := checkText("officer's name", name, maxName); err != nil {
		return err
	}
	if strings.Contains(name, " ") || name[0] == '#' {
		return fmt.Errorf("%w: officer's name holds a space or begins with '#'", ErrRefused)
	}
	return nil
}
