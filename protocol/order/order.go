// Package order is the signed order with which the health authority asks for visits and for the holders of codes, its
// approval by a second officer, and the messages exchanged under it. Visit server, issuer and inquiry share it; SPEC.md
// specifies it. An order is good only if one officer signed it, a different one approved those very bytes, both are in
// the register of the side that is asked, and its time has not run out.
package order

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"filippo.io/age"
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

	maxCase    = 64  // bytes
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
	Case      string         // case number, 1 to 64 bytes
	Officer   string         // who signed, as in the register of officers
	Purpose   string         // 1 to 256 bytes
	Facility  visit.Facility // the place asked about; empty where the order was read without its place
	From      time.Time      // first instant asked about, inclusive
	To        time.Time      // end of the window, exclusive
	Recipient string         // age recipient of the authority (age1…); every answer is encrypted to it
	IssuedAt  time.Time
	Expires   time.Time // last instant at which the order is obeyed, inclusive
}

// Covers reports whether a scan at t falls into the window.
func (o Order) Covers(t time.Time) bool { return !t.Before(o.From) && t.Before(o.To) }

const orderFormat = 1

type wireOrder struct {
	Format    uint8  `cbor:"0,keyasint"`
	ID        []byte `cbor:"1,keyasint"`
	Case      string `cbor:"2,keyasint"`
	Officer   string `cbor:"3,keyasint"`
	Purpose   string `cbor:"4,keyasint"`
	Place     []byte `cbor:"5,keyasint"` // place.digest
	From      int64  `cbor:"6,keyasint"`
	To        int64  `cbor:"7,keyasint"`
	Recipient string `cbor:"8,keyasint"`
	IssuedAt  int64  `cbor:"9,keyasint"`
	Expires   int64  `cbor:"10,keyasint"`
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxArrayElements: MaxScans, MaxMapPairs: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (o Order) marshal(digest [32]byte) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return encMode.Marshal(wireOrder{
		Format: orderFormat, ID: o.ID[:], Case: o.Case, Officer: o.Officer, Purpose: o.Purpose, Place: digest[:],
		From: o.From.Unix(), To: o.To.Unix(), Recipient: o.Recipient, IssuedAt: o.IssuedAt.Unix(), Expires: o.Expires.Unix(),
	})
}

// unmarshal reads an order without its place, and the digest of the place.
func unmarshal(payload []byte) (Order, [32]byte, error) {
	o, digest, err := unmarshalOrder(payload)
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	again, err := o.marshal(digest)
	if err != nil {
		return Order{}, [32]byte{}, err
	}
	if !bytes.Equal(again, payload) {
		return Order{}, [32]byte{}, fmt.Errorf("%w: not deterministically encoded", ErrMalformed)
	}
	return o, digest, nil
}

func unmarshalOrder(payload []byte) (Order, [32]byte, error) {
	var w wireOrder
	if err := decMode.Unmarshal(payload, &w); err != nil {
		return Order{}, [32]byte{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if w.Format != orderFormat {
		return Order{}, [32]byte{}, fmt.Errorf("%w: format %d, this program reads format %d", ErrMalformed, w.Format, orderFormat)
	}
	if len(w.ID) != len(ID{}) {
		return Order{}, [32]byte{}, fmt.Errorf("%w: id of %d bytes, must be %d", ErrMalformed, len(w.ID), len(ID{}))
	}
	if len(w.Place) != 32 {
		return Order{}, [32]byte{}, fmt.Errorf("%w: digest of the place of %d bytes, must be 32", ErrMalformed, len(w.Place))
	}
	for _, sec := range []int64{w.From, w.To, w.IssuedAt, w.Expires} {
		if sec <= 0 || sec > maxTime {
			return Order{}, [32]byte{}, fmt.Errorf("%w: time %d is out of range", ErrMalformed, sec)
		}
	}
	at := func(sec int64) time.Time { return time.Unix(sec, 0).UTC() }
	return Order{
		ID: ID(w.ID), Case: w.Case, Officer: w.Officer, Purpose: w.Purpose,
		From: at(w.From), To: at(w.To), Recipient: w.Recipient, IssuedAt: at(w.IssuedAt), Expires: at(w.Expires),
	}, [32]byte(w.Place), nil
}

// maxTime (year 9999) keeps arithmetic on times far from overflow.
const maxTime = 253402300799

func (o Order) check() error {
	if o.ID == (ID{}) {
		return fmt.Errorf("%w: no id", ErrRefused)
	}
	if err := checkText("case number", o.Case, maxCase); err != nil {
		return err
	}
	if err := checkOfficer(o.Officer); err != nil {
		return err
	}
	if err := checkText("purpose", o.Purpose, maxPurpose); err != nil {
		return err
	}
	if _, err := age.ParseX25519Recipient(o.Recipient); err != nil {
		return fmt.Errorf("%w: recipient is not an age X25519 recipient (age1…)", ErrRefused)
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
