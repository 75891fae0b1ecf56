package wire_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"net/url"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectors is the published file. Everything in it follows from the code, so writing it anew changes nothing.
type vectors struct {
	About     string          `json:"about"`
	Messages  []vectorMessage `json:"messages"`
	Malformed []vectorMessage `json:"malformed"`
	Sent      vectorSent      `json:"sent"`
	Receipts  []vectorReceipt `json:"receipts"`
	Terminals []vectorName    `json:"terminals"`
}

// vectorMessage is a message of a content type. Diagnostic is its diagnostic notation (RFC 8949 section 8), for people.
type vectorMessage struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Diagnostic string `json:"diagnostic,omitempty"`
	Bytes      string `json:"bytes"`
}

// vectorSent is the batch that the receipts may answer.
type vectorSent struct {
	Journal string `json:"journal"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
}

type vectorReceipt struct {
	Name    string `json:"name"`
	Answers bool   `json:"answers"` // the batch; otherwise it is refused whole
	Bytes   string `json:"bytes"`
}

type vectorName struct {
	URI      string `json:"uri"`
	Facility string `json:"facility,omitempty"` // with Gate empty: no terminal's name
	Gate     string `json:"gate,omitempty"`
}

// sent is the segment of the batch that receiptCases are held against: records 11 to 20.
func sent() visit.Segment { return segment(10) }

func makeVectors(t *testing.T) vectors {
	v := vectors{
		About: "Messages between gate and visit server, as in wire/SPEC.md. A receipt is held against the batch in sent.",
		Sent:  vectorSent{sent().Journal.String(), sent().Records[0].Seq, sent().Through()},
	}
	for _, c := range messageCases() {
		b := encode(t, c.message)
		v.Messages = append(v.Messages, vectorMessage{c.name, c.contentType, testkit.Must(cbor.Diagnose(b))(t), hex.EncodeToString(b)})
	}
	for _, c := range malformedProblems() {
		v.Malformed = append(v.Malformed, vectorMessage{Name: c.name, Type: wire.TypeProblem, Bytes: c.bytes})
	}
	for _, c := range receiptCases() {
		v.Receipts = append(v.Receipts, vectorReceipt{c.rule, c.ok, hex.EncodeToString(encode(t, c.r))})
	}
	v.Terminals = append(v.Terminals, vectorName{wire.TerminalURI("cafe-7", "door-1").String(), "cafe-7", "door-1"})
	for _, uri := range badTerminalURIs() {
		v.Terminals = append(v.Terminals, vectorName{URI: uri})
	}
	return v
}

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	testkit.CheckVectors(t, vectorFile, makeVectors(t), *update)
}

func TestSpecExamplesAreVectors(t *testing.T) { testkit.SpecExamples(t, 4) }

// decodeType reads a message of a content type and writes it again.
func decodeType(contentType string, b []byte) (again []byte, err error) {
	switch contentType {
	case wire.TypeBatch:
		return reencode(wire.DecodeBatch(b))
	case wire.TypeReceipt:
		return reencode(wire.Decode[wire.Receipt](b))
	case wire.TypeHeartbeat:
		return reencode(wire.Decode[wire.Heartbeat](b))
	case wire.TypeEnrolment:
		return reencode(wire.Decode[wire.Enrolment](b))
	case wire.TypeProvision:
		return reencode(wire.Decode[wire.Provision](b))
	case wire.TypeTime:
		return reencode(wire.Decode[wire.Time](b))
	case wire.TypeProblem:
		return reencode(wire.Decode[wire.Problem](b))
	case wire.TypeEnrol: // both requests have it
		if again, err := reencode(wire.Decode[wire.EnrolRequest](b)); err == nil {
			return again, nil
		}
		return reencode(wire.Decode[wire.RenewRequest](b))
	}
	return nil, errors.New("unknown content type " + contentType)
}

func reencode[T any](m T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return wire.Encode(m)
}

// TestVectors uses nothing but the file.
func TestVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	seen := map[string]bool{}
	for _, m := range v.Messages {
		seen[m.Type] = true
		again, err := decodeType(m.Type, testkit.Unhex(t, m.Bytes))
		if err != nil || hex.EncodeToString(again) != m.Bytes {
			t.Errorf("%s: %v, written again as %x", m.Name, err, again)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d of 8 content types have a message", len(seen))
	}
	for _, m := range v.Malformed {
		if _, err := decodeType(m.Type, testkit.Unhex(t, m.Bytes)); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	batch := visit.Segment{Journal: visit.JournalID(testkit.Unhex(t, v.Sent.Journal))}
	for seq := v.Sent.First; seq <= v.Sent.Last; seq++ {
		batch.Records = append(batch.Records, visit.Sealed{Seq: seq})
	}
	for _, c := range v.Receipts {
		r, err := wire.Decode[wire.Receipt](testkit.Unhex(t, c.Bytes))
		if err == nil {
			err = r.Answers(batch)
		}
		if c.Answers != (err == nil) {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for _, c := range v.Terminals {
		f, g, err := wire.ParseTerminalURI(testkit.Must(url.Parse(c.URI))(t))
		if string(f) != c.Facility || string(g) != c.Gate || (err == nil) != (c.Gate != "") {
			t.Errorf("%q is read as %q, %q (%v)", c.URI, f, g, err)
		}
	}
}
