package order

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// PathOrders is where visit server and issuer take orders, under their base URL. Both answer a POST over TLS 1.3; the
// order is its own authority, so no other credential is asked for.
//
//	visit server: TypeOrder (an approved order, at most MaxOrder bytes) → TypeVisitAnswer
//	issuer:       TypeQuestion (at most MaxQuestion bytes)              → TypeIssuerAnswer
//
// A refusal has a status of 400 or above and TypeProblem.
const PathOrders = "/v1/orders"

// Content types of the exchange.
const (
	TypeOrder        = "application/vnd.kipass.approved-order+cose"
	TypeVisitAnswer  = "application/vnd.kipass.visit-answer+age"
	TypeQuestion     = "application/vnd.kipass.issuer-question+cbor"
	TypeIssuerAnswer = "application/vnd.kipass.issuer-answer+age"
	TypeProblem      = "application/vnd.kipass.problem+cbor"
)

// Limits of the exchange.
const (
	MaxScans    = 500_000  // scans in one answer of the visit server; a fuller window must be cut into several orders
	MaxCodes    = 10_000   // codes in one question to an issuer; more need several questions
	MaxQuestion = 1 << 20  // bytes
	MaxAnswer   = 96 << 20 // bytes of an answer, encrypted
	maxProblem  = 4 << 10  // bytes
	maxHolder   = 256      // bytes of a name
	maxPhone    = 32       // bytes of a phone number
)

// ErrMessage is wrapped by every error about a message of the exchange that cannot be read.
var ErrMessage = errors.New("not a well-formed message")

// Scan is one visit as the visit server gives it to the authority. Issuer and CTI together say which code was shown: two
// scans of one CTI under two issuers' names are of two codes, of which at most one was ever given out.
type Scan struct {
	At       time.Time // where the visit server put it in time, in whole milliseconds
	Facility visit.Facility
	Gate     visit.Gate
	Issuer   string // short name, as the gate says: only the issuer itself can tell whether the code is its own
	CTI      visit.CTI
	Clock    visit.ClockState // how well the gate knew the time
	Skew     time.Duration    // the allowance that the code was judged with, in whole milliseconds
	Flags    Flags
}

// Flags say what makes a scan doubtful. They are no reason to leave it out.
type Flags uint8

const (
	Late       Flags = 1 << iota // received more than an hour after the time it gives
	NewJournal                   // from a journal that a gate known before came up with, which no operator has acknowledged
	TwoPlaces                    // the code is recorded at another facility too, or here at a time too far from another

	allFlags = Late | NewJournal | TwoPlaces
)

// VisitAnswer is the visit server's answer to an order.
type VisitAnswer struct {
	Entry uint64 // number of the entry in the visit server's audit log under which the answer left
	Order ID
	Scans []Scan // in order of time, all within the order's facility and window
	Gates []GateState
	// Damaged are the days of the window of which visits may be missing because something was damaged at the server, as
	// 2006-01-02.
	Damaged []string
}

// Question asks an issuer to open codes under an approved order.
type Question struct {
	Order []byte      // the approved order as ForIssuer makes it
	Codes []visit.CTI // 1 to MaxCodes, none twice; all scanned under this issuer's name
}

// IssuerAnswer is an issuer's answer to a question. Every code of the question is in exactly one of the two lists.
type IssuerAnswer struct {
	Entry    uint64 // number of the entry in the issuer's audit log under which the answer left
	Order    ID
	Holders  []Holder
	Unopened []visit.CTI // not the issuer's, destroyed, or issued when it cannot have been shown in the order's window
}

// Holder is who held a code.
type Holder struct {
	CTI   visit.CTI
	Name  string
	Phone string // as the issuer keeps it, "+82…" (E.164)
	// IssuedAt is when the issuer gave the code out, in whole seconds: what a scan's time is held against.
	IssuedAt time.Time
}

// LogValue, String and GoString keep name and phone out of logs.
func (Holder) LogValue() slog.Value { return slog.StringValue(redacted) }
func (Holder) String() string       { return redacted }
func (Holder) GoString() string     { return redacted }

const redacted = "holder(redacted)"

type wireScan struct {
	_        struct{} `cbor:",toarray"`
	At       int64    // milliseconds since 1970
	Facility string
	Gate     string
	Issuer   string
	CTI      []byte
	Clock    uint8
	Skew     uint32 // milliseconds
	Flags    uint8
}

type wireVisitAnswer struct {
	Entry   uint64     `cbor:"1,keyasint"`
	Order   []byte     `cbor:"2,keyasint"`
	Scans   []wireScan `cbor:"3,keyasint"`
	Gates   []wireGate `cbor:"4,keyasint"`
	Damaged []string   `cbor:"5,keyasint"`
}

type wireQuestion struct {
	Order []byte   `cbor:"1,keyasint"`
	Codes [][]byte `cbor:"2,keyasint"`
}

type wireHolder struct {
	_     struct{} `cbor:",toarray"`
	CTI   []byte
	Name  string
	Phone string
	At    int64 // issued at, seconds since 1970
}

type wireIssuerAnswer struct {
	Entry    uint64       `cbor:"1,keyasint"`
	Order    []byte       `cbor:"2,keyasint"`
	Holders  []wireHolder `cbor:"3,keyasint"`
	Unopened [][]byte     `cbor:"4,keyasint"`
}

// Codes of a Problem. SPEC.md gives the status that each comes with.
const (
	CodeBadOrder        = "bad-order"         // what was sent cannot be read as an order or a question
	CodeBadRequest      = "bad-request"       // the request broke off
	CodeOrderRefused    = "order-refused"     // the order does not hold here
	CodeRecipient       = "recipient-refused" // the authority did not certify the key that would get the answer
	CodeTooLarge        = "too-large"         // more bytes than are taken
	CodeTooMany         = "too-many"          // more visits than MaxScans
	CodeUnsupportedType = "unsupported-type"  // another content type than the side asked takes
	CodeBusy            = "busy"              // send it again later; Retry-After says when
	CodeInternal        = "internal"          // a fault of the side that is asked
)

// Problem is a refusal.
type Problem struct {
	Code   string `cbor:"1,keyasint"` // stable: one of the codes above
	Detail string `cbor:"2,keyasint"` // for the officer; never holds anything of a visit or a holder
}

// Error makes a Problem usable as an error.
func (p *Problem) Error() string { return fmt.Sprintf("refused (%s): %s", p.Code, p.Detail) }

// EncodeProblem returns the CBOR of a refusal.
func EncodeProblem(p Problem) ([]byte, error) { return encMode.Marshal(p) }

// DecodeProblem reads a refusal.
func DecodeProblem(b []byte) (Problem, error) {
	if len(b) > maxProblem {
		return Problem{}, fmt.Errorf("%w: refusal of %d bytes, at most %d are read", ErrMessage, len(b), maxProblem)
	}
	var p Problem
	if err := decMode.Unmarshal(b, &p); err != nil {
		return Problem{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	return p, nil
}
