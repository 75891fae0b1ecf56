package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func segment(n int) visit.Segment {
	s := visit.Segment{
		Journal: visit.JournalID{1, 2, 3},
		Prev:    visit.Chain{4, 5, 6},
		Epochs:  []visit.Epoch{{First: 1, Key: visit.SealKeyID{7}, Enc: make([]byte, visit.EncSize)}},
		Records: []visit.Sealed{},
	}
	for i := range n {
		s.Records = append(s.Records, visit.Sealed{Seq: uint64(11 + i), Data: bytes.Repeat([]byte{byte(i)}, 90)})
	}
	return s
}

func encode(t testing.TB, m any) []byte {
	t.Helper()
	b, err := wire.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func receipt(through uint64, refused ...visit.Refusal) wire.Receipt {
	return wire.Receipt{
		Settled:    visit.Settlement{Journal: visit.JournalID{1, 2, 3}, Through: through, Refused: refused},
		ServerTime: 1_592_000_000_000, Trust: 3, Wait: 20, Gather: 1000, Heartbeat: 300,
	}
}

func resend(r wire.Receipt, after uint64) wire.Receipt {
	r.Resend = &wire.Resend{Journal: visit.JournalID{1, 2, 3}, After: after}
	return r
}

type messageCase struct {
	name        string
	contentType string
	message     any
}

func messageCases() []messageCase {
	r := receipt(20, visit.Refusal{Seq: 12, Reason: "unsealable"})
	r.Alerts = []string{"gap", "fork"}
	provision := wire.Provision{SealKey: []byte{1}, TrustList: []byte{2}, Until: 1593615600000}
	return []messageCase{
		{"a batch of three records", wire.TypeBatch, wire.Batch{Segment: segment(3), Oldest: 5}},
		{"a receipt", wire.TypeReceipt, r},
		{"the receipt of a heartbeat", wire.TypeReceipt, wire.Receipt{
			ServerTime: 1592000000000, Trust: 3, SealKey: visit.SealKeyID{1, 2, 3, 4, 5, 6, 7, 8}, Gather: 1000, Heartbeat: 300,
		}},
		{"a heartbeat", wire.TypeHeartbeat, wire.Heartbeat{
			Version: "1.0", Backlog: 5, Oldest: 6, Clock: "synced", FreeDisk: 1 << 40, Faults: []string{"offline"},
			Journal: visit.JournalID{1, 2, 3}, Settled: 20, SealKey: visit.SealKeyID{1, 2, 3, 4, 5, 6, 7, 8},
			Chain: visit.Genesis(visit.JournalID{1, 2, 3}),
		}},
		{"a receipt that asks for earlier records", wire.TypeReceipt, resend(receipt(0), 4)},
		{"a request to enrol", wire.TypeEnrol, wire.EnrolRequest{Code: "ABCD", CSR: []byte{0x30, 0x00}}},
		{"a request to renew", wire.TypeEnrol, wire.RenewRequest{CSR: []byte{0x30, 0x00}}},
		{"an enrolment", wire.TypeEnrolment, wire.Enrolment{Certificate: []byte{9}, Provision: provision}},
		{"a provision", wire.TypeProvision, provision},
		{"the time", wire.TypeTime, wire.Time{ServerTime: 1_592_000_000_000}},
		{"a problem", wire.TypeProblem, wire.Problem{Code: wire.CodeBusy, Detail: "later"}},
	}
}

func TestEveryMessageSurvivesTheWire(t *testing.T) {
	for _, c := range messageCases() {
		t.Run(c.name, func(t *testing.T) {
			got := reflect.New(reflect.TypeOf(c.message))
			testkit.Check(t, decodeInto(got.Interface(), encode(t, c.message)))
			if !reflect.DeepEqual(got.Elem().Interface(), c.message) {
				t.Errorf("got %+v, want %+v", got.Elem(), c.message)
			}
		})
	}
}

// decodeInto reads a message into what a pointer of its type points to.
func decodeInto(to any, b []byte) (err error) {
	switch m := to.(type) {
	case *wire.Batch:
		*m, err = wire.DecodeBatch(b)
	case *wire.Receipt:
		*m, err = wire.Decode[wire.Receipt](b)
	case *wire.Heartbeat:
		*m, err = wire.Decode[wire.Heartbeat](b)
	case *wire.EnrolRequest:
		*m, err = wire.Decode[wire.EnrolRequest](b)
	case *wire.RenewRequest:
		*m, err = wire.Decode[wire.RenewRequest](b)
	case *wire.Enrolment:
		*m, err = wire.Decode[wire.Enrolment](b)
	case *wire.Provision:
		*m, err = wire.Decode[wire.Provision](b)
	case *wire.Time:
		*m, err = wire.Decode[wire.Time](b)
	case *wire.Problem:
		*m, err = wire.Decode[wire.Problem](b)
	default:
		err = fmt.Errorf("%T is no message", to)
	}
	return err
}

type malformedCase struct{ name, bytes string }

// malformedProblems are all twisted from a2 01 64 "busy" 02 60, which is well formed.
func malformedProblems() []malformedCase {
	return []malformedCase{
		{"nothing", ""},
		{"HTML", hex.EncodeToString([]byte("<!DOCTYPE html><html></html>"))},
		{"a missing key", "a1016462757379"},
		{"an unknown key", "a301646275737902600300"},
		{"a duplicate key", "a301646275737902600260"},
		{"keys out of order", "a20260016462757379"},
		{"an indefinite length", "bf0164627573790260ff"},
		{"a length written longer", "a2017804627573790260"},
		{"a tag", "c0a20164627573790260"},
		{"trailing bytes", "a2016462757379026000"},
		{"a torn message", "a201646275737902"},
		{"null in place of a text", "a201f60260"},
		{"invalid UTF-8", "a20164ff7573790260"},
		{"a text where a map is", "6462757379"},
		{"bytes in place of a text", "a20144627573790260"},
	}
}

func TestDecodeRefuses(t *testing.T) {
	if _, err := wire.Decode[wire.Problem](testkit.Unhex(t, "a20164627573790260")); err != nil {
		t.Fatal(err)
	}
	for _, c := range malformedProblems() {
		t.Run(c.name, func(t *testing.T) {
			m, err := wire.Decode[wire.Problem](testkit.Unhex(t, c.bytes))
			if !errors.Is(err, wire.ErrMessage) || m != (wire.Problem{}) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
	t.Run("a journal id of another length", func(t *testing.T) {
		b := encode(t, receipt(20))
		short := bytes.Replace(b, []byte{0x01, 0x50}, []byte{0x01, 0x4f}, 1)
		short = append(short[:7:7], short[8:]...) // one byte of the id less
		if _, err := wire.Decode[wire.Receipt](short); !errors.Is(err, wire.ErrMessage) {
			t.Errorf("got %v", err)
		}
	})
}

func TestBatchLimits(t *testing.T) {
	twist := func(n int, f func(*visit.Segment)) []byte {
		s := segment(n)
		f(&s)
		return encode(t, wire.Batch{Segment: s, Oldest: 1})
	}
	keep := func(*visit.Segment) {}
	long := func(s *visit.Segment) {
		for i := range s.Records {
			s.Records[i].Data = make([]byte, visit.MaxSealed)
		}
	}
	epochs := func(n int) func(s *visit.Segment) {
		return func(s *visit.Segment) {
			s.Epochs = nil
			for i := range n {
				s.Epochs = append(s.Epochs, visit.Epoch{First: uint64(1 + i), Enc: make([]byte, visit.EncSize)})
			}
		}
	}
	for _, c := range []struct {
		rule string
		b    []byte
		ok   bool
	}{
		{"one record is a batch", twist(1, keep), true},
		{"1000 records are a batch", twist(1000, keep), true},
		{"1001 records are too many", twist(1001, keep), false},
		{"no record is no batch", twist(0, keep), false},
		{"256 KiB are not exceeded by few long records", twist(900, long), true},
		{"more than 256 KiB are too long", twist(1000, func(s *visit.Segment) { long(s); epochs(11)(s) }), false},
		{"a sequence must not be left out", twist(3, func(s *visit.Segment) { s.Records[2].Seq++ }), false},
		{"a sequence must not be 0", twist(1, func(s *visit.Segment) { s.Records[0].Seq = 0 }), false},
		{"epochs ascend", twist(1, func(s *visit.Segment) { s.Epochs = append(s.Epochs, s.Epochs[0]) }), false},
		{"a record without an epoch spoils no batch", twist(1, func(s *visit.Segment) { s.Epochs[0].First = 12 }), true},
		{"nor does a damaged epoch", twist(1, func(s *visit.Segment) { s.Epochs[0].Enc = make([]byte, 32) }), true},
		{"nor a record too long", twist(1, func(s *visit.Segment) { s.Records[0].Data = make([]byte, visit.MaxSealed+1) }), true},
		{"the oldest record is one", encode(t, wire.Batch{Segment: segment(1)}), false},
		{"the oldest record may be the batch's first", encode(t, wire.Batch{Segment: segment(1), Oldest: 11}), true},
		{"the oldest record is not after it", encode(t, wire.Batch{Segment: segment(1), Oldest: 12}), false},
	} {
		t.Run(c.rule, func(t *testing.T) {
			_, err := wire.DecodeBatch(c.b)
			if c.ok != (err == nil) {
				t.Errorf("%d bytes: got %v", len(c.b), err)
			}
			if err != nil && !errors.Is(err, wire.ErrMessage) {
				t.Errorf("%v does not wrap ErrMessage", err)
			}
		})
	}
}

type receiptCase struct {
	rule string
	r    wire.Receipt
	ok   bool
}

// receiptCases are held against a batch of the segment sent.
func receiptCases() []receiptCase {
	refuse := func(seqs ...uint64) (r []visit.Refusal) {
		for _, q := range seqs {
			r = append(r, visit.Refusal{Seq: q, Reason: "malformed"})
		}
		return r
	}
	with := func(r wire.Receipt, f func(*wire.Receipt)) wire.Receipt { f(&r); return r }
	return []receiptCase{
		{"all settled", receipt(20), true},
		{"half settled", receipt(15), true},
		{"nothing settled", receipt(10), true},
		{"a server that knows nothing yet", receipt(0), true},
		{"all refused", receipt(20, refuse(11, 12, 13, 14, 15, 16, 17, 18, 19, 20)...), true},
		{"beyond the batch", receipt(21), false},
		{"another journal", with(receipt(20), func(r *wire.Receipt) { r.Settled.Journal[0]++ }), false},
		{"a refusal before the batch", receipt(20, refuse(10)...), false},
		{"a refusal after Through", receipt(15, refuse(16)...), false},
		{"a refusal twice", receipt(20, refuse(12, 12)...), false},
		{"refusals out of order", receipt(20, refuse(13, 12)...), false},
		{"a refusal without a reason", receipt(20, visit.Refusal{Seq: 12}), false},
		{"a reason that is no code", receipt(20, visit.Refusal{Seq: 12, Reason: "Because\n"}), false},
		{"no server time", with(receipt(20), func(r *wire.Receipt) { r.ServerTime = 0 }), false},
		{"an alert that is no code", with(receipt(20), func(r *wire.Receipt) { r.Alerts = []string{"<b>"} }), false},
		{"too many alerts", with(receipt(20), func(r *wire.Receipt) { r.Alerts = strings.Split(strings.Repeat("gap,", 16)+"gap", ",") }), false},
		{"the receipt of a heartbeat", wire.Receipt{ServerTime: 1}, false},
		{"asks for all", resend(receipt(0), 0), true},
		{"asks for the record before", resend(receipt(0), 9), true},
		{"asks for nothing", resend(receipt(0), 10), false},
		{"asks and settles", resend(receipt(11), 9), false},
		{"asks for another journal", with(resend(receipt(0), 9), func(r *wire.Receipt) { r.Resend.Journal[0]++ }), false},
	}
}

func TestReceiptAnswers(t *testing.T) {
	for _, c := range receiptCases() {
		t.Run(c.rule, func(t *testing.T) {
			if err := c.r.Answers(sent()); c.ok != (err == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReceiptAnswersHeartbeat(t *testing.T) {
	none := wire.Receipt{ServerTime: 1}
	for _, c := range []struct {
		rule string
		r    wire.Receipt
		h    wire.Heartbeat
		ok   bool
	}{
		{"settles nothing", none, wire.Heartbeat{}, true},
		{"settles", receipt(20), wire.Heartbeat{Journal: visit.JournalID{1, 2, 3}, Settled: 20}, false},
		{"asks for what was settled", resend(none, 19), wire.Heartbeat{Journal: visit.JournalID{1, 2, 3}, Settled: 20}, true},
		{"asks for more", resend(none, 20), wire.Heartbeat{Journal: visit.JournalID{1, 2, 3}, Settled: 20}, false},
		{"asks for another journal", resend(none, 0), wire.Heartbeat{Journal: visit.JournalID{1}, Settled: 20}, false},
		{"asks where there is no journal", wire.Receipt{ServerTime: 1, Resend: &wire.Resend{}}, wire.Heartbeat{Settled: 20}, false},
	} {
		if err := c.r.AnswersHeartbeat(c.h); c.ok != (err == nil) {
			t.Errorf("%s: %v", c.rule, err)
		}
	}
}

// badTerminalURIs merely resemble a terminal's name.
func badTerminalURIs() []string {
	return []string{
		"kipass://terminal/cafe-7", "kipass://terminal/cafe-7/", "kipass://terminal//door-1", "kipass://terminal/cafe-7/door-1/",
		"kipass://terminal//cafe-7/door-1", "kipass://terminal/cafe-7//door-1", "kipass://terminal/cafe-7/door-1/x", "kipass://terminal/./cafe-7/door-1",
		"kipass://terminal/cafe%2d7/door-1", "kipass://terminal/cafe-7%2Fdoor-1", "kipass://terminal/cafe-7/door%31", "kipass://terminal/Cafe-7/door-1",
		"kipass://terminal/cafe-7/door-1?", "kipass://terminal/cafe-7/door-1?a=b", "kipass://terminal/cafe-7/door-1#x",
		"kipass://root@terminal/cafe-7/door-1", "kipass://@terminal/cafe-7/door-1", "kipass://terminal:443/cafe-7/door-1", "kipass://TERMINAL/cafe-7/door-1",
		"kipass://issuer/cafe-7/door-1", "https://terminal/cafe-7/door-1", "kipass:terminal/cafe-7/door-1", "kipass:/cafe-7/door-1",
		"//terminal/cafe-7/door-1", "", "kipass://terminal/카페/door-1", "kipass://terminal/cafe-7/" + strings.Repeat("d", 33),
	}
}

func TestParseTerminalURI(t *testing.T) {
	u := testkit.Must(url.Parse(wire.TerminalURI("cafe-7", "door-1").String()))(t)
	if f, g, err := wire.ParseTerminalURI(u); f != "cafe-7" || g != "door-1" || err != nil {
		t.Fatal(f, g, err)
	}
	for _, s := range badTerminalURIs() {
		f, g, err := wire.ParseTerminalURI(testkit.Must(url.Parse(s))(t))
		if err == nil {
			t.Errorf("%q is read as %q, %q", s, f, g)
		} else if f != "" || g != "" {
			t.Errorf("%q: data beside an error", s)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(encode(f, wire.Batch{Segment: segment(2), Oldest: 1}))
	f.Add([]byte{0xa1, 0x01, 0xf6})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.DecodeBatch(b)
		if err != nil {
			if !errors.Is(err, wire.ErrMessage) || len(m.Segment.Records) != 0 {
				t.Errorf("got %v", err)
			}
			return
		}
		if err := m.Segment.Check(); err != nil || len(m.Segment.Records) == 0 || len(m.Segment.Records) > wire.MaxRecords {
			t.Errorf("let through: %v", err)
		}
		if !bytes.Equal(encode(t, m), b) {
			t.Error("two encodings of one batch")
		}
	})
}

func fuzzDecode[T any](f *testing.F, seeds ...any) {
	for _, s := range seeds {
		f.Add(encode(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := wire.Decode[T](b)
		if err == nil && !bytes.Equal(encode(t, m), b) {
			t.Error("two encodings of one message")
		}
	})
}

func FuzzReceipt(f *testing.F) {
	f.Add(encode(f, receipt(12, visit.Refusal{Seq: 11, Reason: "too-old"})))
	f.Add(encode(f, wire.Receipt{ServerTime: 1, Alerts: []string{"gap"}}))
	s := segment(3)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.Decode[wire.Receipt](b)
		if err != nil || r.Answers(s) != nil {
			return
		}
		if r.Settled.Through > s.Through() || r.Settled.Journal != s.Journal || len(r.Settled.Refused) > len(s.Records) {
			t.Errorf("let through: %+v", r.Settled)
		}
	})
}

func FuzzHeartbeat(f *testing.F) {
	fuzzDecode[wire.Heartbeat](f, wire.Heartbeat{Faults: []string{"offline"}})
}
func FuzzEnrolRequest(f *testing.F) {
	fuzzDecode[wire.EnrolRequest](f, wire.EnrolRequest{Code: "A", CSR: []byte{1}})
}
func FuzzRenewRequest(f *testing.F) {
	fuzzDecode[wire.RenewRequest](f, wire.RenewRequest{CSR: []byte{1}})
}
func FuzzEnrolment(f *testing.F) {
	fuzzDecode[wire.Enrolment](f, wire.Enrolment{Certificate: []byte{1}})
}
func FuzzProvision(f *testing.F) {
	fuzzDecode[wire.Provision](f, wire.Provision{SealKey: []byte{1}})
}
func FuzzProblem(f *testing.F) { fuzzDecode[wire.Problem](f, wire.Problem{Code: "busy"}) }

func FuzzParseTerminalURI(f *testing.F) {
	f.Add("kipass://terminal/cafe-7/door-1")
	f.Add("kipass://a@terminal/cafe%2f7/door-1?#")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		facility, gate, err := wire.ParseTerminalURI(u)
		if err == nil && u.String() != wire.TerminalURI(facility, gate).String() {
			t.Errorf("%q is read as %q, %q", s, facility, gate)
		}
	})
}
