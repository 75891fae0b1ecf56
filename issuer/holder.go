package issuer

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// Errors a visitor's request may meet.
var (
	ErrConsent  = errors.New("consent to collecting and handing over personal data is required")
	ErrIdentity = errors.New("name or phone number is not acceptable")
	ErrUnknown  = errors.New("no such account: register again")
	ErrTooMany  = errors.New("too many codes in a short time")
	ErrKeyEnded = errors.New("no signing key is in force: gates would refuse the code")
)

// Identity is who a holder is. It prints and logs as a placeholder.
type Identity struct {
	Name  string // 1 to 40 characters
	Phone string // E.164, "+821012345678"
}

const redacted = "identity(redacted)"

func (Identity) String() string       { return redacted }
func (Identity) GoString() string     { return redacted }
func (Identity) LogValue() slog.Value { return slog.StringValue(redacted) }

const maxNameRunes = 40

// NewIdentity checks a name and brings a phone number into E.164 form. A number without '+' is Korean: 010-1234-5678
// becomes +821012345678. The error wraps [ErrIdentity] and holds nothing of either.
func NewIdentity(name, phone string) (Identity, error) {
	name = strings.Join(strings.Fields(name), " ")
	unprintable := strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
	if n := utf8.RuneCountInString(name); !utf8.ValidString(name) || n == 0 || n > maxNameRunes || unprintable {
		return Identity{}, fmt.Errorf("%w: the name must be 1 to %d printable characters", ErrIdentity, maxNameRunes)
	}
	digits := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, phone)
	if local, ok := strings.CutPrefix(digits, "0"); ok {
		digits = "+82" + local
	}
	number, ok := strings.CutPrefix(digits, "+")
	if !ok || len(number) < 8 || len(number) > 15 || number[0] == '0' || strings.Trim(number, "0123456789") != "" {
		return Identity{}, fmt.Errorf("%w: the phone number must be 010-1234-5678 or +821012345678", ErrIdentity)
	}
	return Identity{Name: name, Phone: "+" + number}, nil
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
