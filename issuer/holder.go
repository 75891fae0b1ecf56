package issuer

import (
	"errors"
	"log/slog"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/person"
)

// Errors a visitor's request may meet.
var (
	ErrConsent  = errors.New("consent to collecting and handing over personal data is required")
	ErrIdentity = errors.New("nothing shows that the phone is the applicant's")
	ErrUnknown  = errors.New("no such account: register again")
	ErrTooMany  = errors.New("too many codes in a short time")
	ErrKeyEnded = errors.New("no signing key is in force: gates would refuse the code")
)

// Identity is who a holder is. It prints and logs as a placeholder.
type Identity struct {
	Name  string // as [person.Name] writes it
	Phone string // as [person.Phone] writes it
}

const redacted = "identity(redacted)"

func (Identity) String() string       { return redacted }
func (Identity) GoString() string     { return redacted }
func (Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

// NewIdentity brings a name and a phone number into their one form. The error wraps [person.ErrName] or [person.ErrPhone] and
// holds nothing of either.
func NewIdentity(name, phone string) (Identity, error) {
	name, err := person.Name(name)
	if err != nil {
		return Identity{}, err
	}
	phone, err = person.Phone(phone)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Name: name, Phone: phone}, nil
}

// holder is an account's content, and what a day keeps a copy of.
type holder struct {
	_       struct{} `cbor:",toarray"`
	Ref     []byte
	Name    string
	Phone   string
	Consent int64 // when consent was given, seconds since 1970
}

func (h holder) ref() ref { return ref(h.Ref) }

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newHolder(r ref, id Identity, consent time.Time) holder {
	return holder{Ref: r[:], Name: id.Name, Phone: id.Phone, Consent: consent.Unix()}
}

func decodeHolder(b []byte) (holder, error) {
	var h holder
	if err := decMode.Unmarshal(b, &h); err != nil || len(h.Ref) != len(ref{}) {
		return holder{}, errors.New("record of a holder is damaged")
	}
	return h, nil
}
