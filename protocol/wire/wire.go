// Package wire is the encoding between gate and visit server: messages, limits, paths and content types, shared by both
// ends. Every message is deterministic CBOR (RFC 8949 section 4.2) under its own content type over HTTPS with TLS 1.3;
// all but enrolment and the time are authenticated by the terminal's client certificate, which names facility and gate.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/visit"
)

// Limits of one exchange.
const (
	MaxRecords  = 1000      // records in a batch
	MaxBatch    = 256 << 10 // bytes of a batch
	MaxResponse = 128 << 10 // bytes of any answer of the server
	MaxRequest  = MaxBatch  // bytes of any request
)

// Paths of the terminal interface, under the server's base URL.
const (
	PathEnrol     = "/v1/terminal/enrol"     // POST EnrolRequest → Enrolment; no client certificate
	PathRenew     = "/v1/terminal/renew"     // POST RenewRequest → Enrolment
	PathVisits    = "/v1/terminal/visits"    // POST Batch → Receipt
	PathHeartbeat = "/v1/terminal/heartbeat" // POST Heartbeat → Receipt without settlement
	PathProvision = "/v1/terminal/provision" // GET → Provision
	PathTime      = "/v1/terminal/time"      // GET → Time; no client certificate
)

// Content types. An answer without the expected one is not the server's: a captive portal or a proxy spoke.
const (
	TypeEnrol     = "application/vnd.kipass.enrol+cbor"
	TypeEnrolment = "application/vnd.kipass.enrolment+cbor"
	TypeBatch     = "application/vnd.kipass.batch+cbor"
	TypeHeartbeat = "application/vnd.kipass.heartbeat+cbor"
	TypeReceipt   = "application/vnd.kipass.receipt+cbor"
	TypeProvision = "application/vnd.kipass.provision+cbor"
	TypeTime      = "application/vnd.kipass.time+cbor"
	TypeProblem   = "application/vnd.kipass.problem+cbor"
)

// Batch carries a segment of a gate's journal. It is sent again, whole or in other cuts, until a receipt covers it.
type Batch struct {
	Segment visit.Segment `cbor:"1,keyasint"`
	Oldest  uint64        `cbor:"2,keyasint"` // sequence of the oldest record the gate can still send, delivered or not
	Trust   uint64        `cbor:"3,keyasint"` // version of the trust list that the gate goes by, 0 for none
}

// Receipt answers a batch or a heartbeat. It is sent only after the server's own commit, and it speaks of the records
// of that batch alone, whatever else the server holds (see [Receipt.Answers]).
type Receipt struct {
	Settled    visit.Settlement `cbor:"1,keyasint"`           // zero for a heartbeat
	ServerTime int64            `cbor:"2,keyasint"`           // milliseconds since 1970, taken when the answer was made
	Trust      uint64           `cbor:"3,keyasint"`           // version of the newest trust list to be fetched with PathProvision
	SealKey    visit.SealKeyID  `cbor:"4,keyasint"`           // the key new epochs shall be sealed to
	Wait       uint32           `cbor:"5,keyasint"`           // milliseconds to wait before the next batch: the fleet's pacing
	Gather     uint32           `cbor:"6,keyasint"`           // milliseconds to gather scans for, at most MaxGather
	Heartbeat  uint32           `cbor:"7,keyasint"`           // seconds between heartbeats when nothing is sent
	Alerts     []string         `cbor:"8,keyasint,omitempty"` // what the server saw of the journal and the gate: SPEC.md, Alerts
	Resend     *Resend          `cbor:"9,keyasint,omitempty"` // nil: the server lacks nothing that it knows of
}

// Resend asks a gate for records that it has seen settled and the server does not hold: the server was restored from a
// backup, or has lost its row of the journal.
type Resend struct {
	Journal visit.JournalID `cbor:"1,keyasint"`
	After   uint64          `cbor:"2,keyasint"` // the server holds all up to this sequence, or does not know what it holds
}

// MaxGather bounds what a server may ask for as gathering time.
const MaxGather = 5 * time.Second

// Heartbeat tells the server of a gate's state when there is nothing to send. It holds nothing about visitors.
type Heartbeat struct {
	Version    string   `cbor:"1,keyasint"`           // of the gate's program
	Backlog    uint64   `cbor:"2,keyasint"`           // undelivered records
	Quarantine uint64   `cbor:"3,keyasint"`           // records refused for good
	Oldest     int64    `cbor:"4,keyasint"`           // milliseconds since 1970 of the oldest undelivered append, 0 for none
	Clock      string   `cbor:"5,keyasint"`           // visit.ClockState
	FreeDisk   uint64   `cbor:"6,keyasint"`           // bytes free where the journal lies
	Faults     []string `cbor:"7,keyasint,omitempty"` // codes of package health

	Journal visit.JournalID `cbor:"8,keyasint"`  // the journal in use, zero for none
	Settled uint64          `cbor:"9,keyasint"`  // the last of its sequences that was settled
	SealKey visit.SealKeyID `cbor:"10,keyasint"` // the key that the next visit would be sealed to, zero for none
	Chain   visit.Chain     `cbor:"11,keyasint"` // chain value after Settled, zero without a journal
}

// EnrolRequest asks for a terminal certificate with the one-time code the facility's owner was given.
type EnrolRequest struct {
	Code string `cbor:"1,keyasint"`
	CSR  []byte `cbor:"2,keyasint"` // PKCS #10, DER
}

// RenewRequest asks for a new certificate for the terminal that the client certificate names.
type RenewRequest struct {
	CSR []byte `cbor:"1,keyasint"` // PKCS #10, DER
}

// Enrolment is what a terminal needs to work.
type Enrolment struct {
	Certificate []byte    `cbor:"1,keyasint"` // X.509, DER; its one URI name is TerminalURI
	Provision   Provision `cbor:"2,keyasint"`
}

// Time is what the server's clock shows. A gate that does not know the time asks for it before it can judge the server's
// certificate.
type Time struct {
	ServerTime int64 `cbor:"1,keyasint"` // milliseconds since 1970, above 0
}

// Provision is what a terminal refreshes in the background.
type Provision struct {
	SealKey   []byte `cbor:"1,keyasint"` // visit.SealPublicKey
	TrustList []byte `cbor:"2,keyasint"` // signed token.TrustList
	Until     int64  `cbor:"3,keyasint"` // milliseconds since 1970 at which another sealing key is to take the place of this one
}

// ErrMessage is wrapped by every error of Decode.
var ErrMessage = errors.New("not a well-formed message")

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 8, MaxArrayElements: 4096, MaxMapPairs: 32, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode returns the deterministic CBOR of a message.
func Encode(message any) ([]byte, error) { return encMode.Marshal(message) }

// Decode reads a message strictly: unknown, duplicate or missing keys, indefinite lengths, tags, trailing bytes, fixed
// byte strings of another length and any encoding but the deterministic one are refused. Errors wrap [ErrMessage].
// The caller bounds len(b).
func Decode[T any](b []byte) (T, error) {
	var m, zero T
	if err := decMode.Unmarshal(b, &m); err != nil {
		return zero, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	// The CBOR library pads and cuts fixed byte strings and leaves missing keys zero; encoding again shows both.
	again, err := encMode.Marshal(m)
	if err != nil {
		return zero, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if !bytes.Equal(again, b) {
		return zero, fmt.Errorf("%w: keys are missing, sizes differ or the encoding is not deterministic", ErrMessage)
	}
	return m, nil
}

// DecodeBatch reads a batch and checks its limits and the form of its segment, which holds at least one record.
func DecodeBatch(b []byte) (Batch, error) {
	if len(b) > MaxBatch {
		return Batch{}, fmt.Errorf("%w: batch of %d bytes, at most %d", ErrMessage, len(b), MaxBatch)
	}
	m, err := Decode[Batch](b)
	if err != nil {
		return Batch{}, err
	}
	if n := len(m.Segment.Records); n == 0 || n > MaxRecords {
		return Batch{}, fmt.Errorf("%w: batch of %d records, must be 1 to %d", ErrMessage, n, MaxRecords)
	}
	if err := m.Segment.Check(); err != nil {
		return Batch{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	if first := m.Segment.Records[0].Seq; m.Oldest == 0 || m.Oldest > first {
		return Batch{}, fmt.Errorf("%w: oldest record %d, the batch begins at %d", ErrMessage, m.Oldest, first)
	}
	return m, nil
}

// TerminalURI returns the name a terminal certificate carries as its URI subject alternative name.
func TerminalURI(f visit.Facility, g visit.Gate) *url.URL {
	return &url.URL{Scheme: "kipass", Host: "terminal", Path: "/" + string(f) + "/" + string(g)}
}

// ParseTerminalURI reads what TerminalURI wrote, and nothing that merely resembles it: no user, port, query, fragment,
// escape or further slash.
func ParseTerminalURI(u *url.URL) (visit.Facility, visit.Gate, error) {
	f, g, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ok {
		return "", "", fmt.Errorf("%q is not a terminal's name", u.Redacted())
	}
	facility, err := visit.ParseFacility(f)
	if err != nil {
		return "", "", fmt.Errorf("terminal's name: %w", err)
	}
	gate, err := visit.ParseGate(g)
	if err != nil {
		return "", "", fmt.Errorf("terminal's name: %w", err)
	}
	if *u != *TerminalURI(facility, gate) {
		return "", "", fmt.Errorf("%q is not a terminal's name", u.Redacted())
	}
	return facility, gate, nil
}
