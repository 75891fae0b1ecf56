package order

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

func TestAnswersAreReadableByTheAuthorityAlone(t *testing.T) {
	authority := testkit.Must(age.GenerateX25519Identity())(t)
	other := testkit.Must(age.GenerateX25519Identity())(t)
	certification := certification()
	certification.Recipient = authority.Recipient().String()
	to := testkit.Must(testkit.Must(NewDraft(sample()))(t).Certify(root, certification))(t)
	visits := VisitAnswer{Entry: 7, Order: ID{1}, Scans: []Scan{
		{At: time.UnixMilli(1593600000123).UTC(), Facility: "hongdae-12", Gate: "door-1", Issuer: "naver", CTI: visit.CTI{1}},
		{At: time.UnixMilli(1593600000124).UTC(), Facility: "hongdae-12", Gate: "door-2", Issuer: "pass", CTI: visit.CTI{2}},
	}}
	sealed := testkit.Must(SealVisitAnswer(to, visits))(t)
	if got, err := OpenVisitAnswer(sealed, authority); err != nil || got.Entry != 7 || got.Order != visits.Order || len(got.Scans) != 2 || got.Scans[1] != visits.Scans[1] {
		t.Errorf("OpenVisitAnswer = %d scans, %v", len(got.Scans), err)
	}
	if _, err := OpenVisitAnswer(sealed, other); err == nil {
		t.Error("another key opens the answer")
	}
	holders := IssuerAnswer{Entry: 9, Order: ID{1}, Holders: []Holder{{visit.CTI{1}, "김철수", "+821012345678", now}}, Unopened: []visit.CTI{{2}}}
	sealed = testkit.Must(SealIssuerAnswer(to, holders))(t)
	if bytes.Contains(sealed, []byte("김철수")) {
		t.Error("the sealed answer shows a name")
	}
	if got, err := OpenIssuerAnswer(sealed, authority); err != nil || got.Entry != 9 || len(got.Holders) != 1 || got.Holders[0] != holders.Holders[0] || len(got.Unopened) != 1 {
		t.Errorf("OpenIssuerAnswer = %d holders, %v", len(got.Holders), err)
	}
	for what, c := range map[string]Certificate{"nobody": {}, "a recipient that nobody certified": {Certification: certification}} {
		if _, err := SealIssuerAnswer(c, holders); !errors.Is(err, ErrRecipient) {
			t.Errorf("an answer to %s: %v", what, err)
		}
		if _, err := SealVisitAnswer(c, visits); !errors.Is(err, ErrRecipient) {
			t.Errorf("an answer to %s: %v", what, err)
		}
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := OpenIssuerAnswer(sealed, authority); err == nil {
		t.Error("a changed answer is opened")
	}
}

func TestLimitsOfMessages(t *testing.T) {
	code := func(i int) visit.CTI { return visit.CTI{byte(i >> 16), byte(i >> 8), byte(i)} }
	full := Question{Order: []byte{1}}
	for i := range MaxCodes {
		full.Codes = append(full.Codes, code(i))
	}
	raw := testkit.Must(EncodeQuestion(full))(t)
	if len(raw) > MaxQuestion-MaxOrder {
		t.Errorf("a full question takes %d bytes, and %d are read", len(raw)+MaxOrder, MaxQuestion)
	}
	if q, err := DecodeQuestion(raw); err != nil || len(q.Codes) != MaxCodes || q.Codes[9] != full.Codes[9] {
		t.Errorf("DecodeQuestion = %d codes, %v", len(q.Codes), err)
	}
	over := full
	over.Codes = append(full.Codes[:MaxCodes:MaxCodes], code(MaxCodes))
	twice := Question{Order: []byte{1}, Codes: []visit.CTI{code(1), code(1)}}
	for name, q := range map[string]Question{
		"too many codes": over, "a code twice": twice, "no code": {Order: []byte{1}},
		"no order": {Codes: full.Codes[:1]},
	} {
		if _, err := EncodeQuestion(q); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	both := IssuerAnswer{Holders: []Holder{{code(1), "a", "1", now}}, Unopened: []visit.CTI{code(1)}}
	if _, err := SealIssuerAnswer(certificate(t, testkit.Must(NewDraft(sample()))(t)), both); !errors.Is(err, ErrMessage) {
		t.Errorf("a code both opened and not: %v", err)
	}
	undated := IssuerAnswer{Holders: []Holder{{code(1), "a", "1", time.Unix(0, 0)}}}
	if _, err := SealIssuerAnswer(certificate(t, testkit.Must(NewDraft(sample()))(t)), undated); !errors.Is(err, ErrMessage) {
		t.Errorf("a code issued at no time: %v", err)
	}
	for name, change := range map[string]func(*Scan){
		"an unknown flag":        func(s *Scan) { s.Flags = allFlags + 1 },
		"an unknown clock state": func(s *Scan) { s.Clock = visit.ClockSynced + 1 },
	} {
		s := Scan{At: now, Facility: "f", Gate: "g", Issuer: "i", Clock: visit.ClockSynced, Flags: allFlags}
		if _, err := SealVisitAnswer(certificate(t, testkit.Must(NewDraft(sample()))(t)), VisitAnswer{Scans: []Scan{s}}); err != nil {
			t.Errorf("a scan with every flag: %v", err)
		}
		change(&s)
		if _, err := SealVisitAnswer(certificate(t, testkit.Must(NewDraft(sample()))(t)), VisitAnswer{Scans: []Scan{s}}); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFullVisitAnswerFitsItsLimit(t *testing.T) {
	a := VisitAnswer{Scans: make([]Scan, MaxScans)}
	name := strings.Repeat("x", 32)
	for i := range a.Scans {
		a.Scans[i] = Scan{At: now, Facility: visit.Facility(name), Gate: visit.Gate(name), Issuer: name[:16], CTI: visit.CTI{1}, Skew: time.Hour, Flags: allFlags}
	}
	b := testkit.Must(encodeVisitAnswer(a))(t)
	if over := len(b) + len(b)/1000; over > MaxAnswer {
		t.Errorf("%d scans take %d bytes, and %d are read", MaxScans, over, MaxAnswer)
	}
	if got, err := decodeVisitAnswer(b); err != nil || len(got.Scans) != MaxScans {
		t.Errorf("decodeVisitAnswer = %d scans, %v", len(got.Scans), err)
	}
	a.Scans = append(a.Scans, a.Scans[0])
	if _, err := encodeVisitAnswer(a); !errors.Is(err, ErrMessage) {
		t.Errorf("one scan too many: %v", err)
	}
}

func TestStatesOfGatesThatAreNotRead(t *testing.T) {
	good := GateState{Gate: "door-1", Receipt: now, Gaps: []Gap{{From: now, To: now}}, Alerts: []string{"gap"}}
	if _, err := encodeVisitAnswer(VisitAnswer{Gates: []GateState{good}, Damaged: []string{"2020-07-01"}}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*VisitAnswer){
		"too many gates":             func(a *VisitAnswer) { a.Gates = make([]GateState, MaxGates+1) },
		"a gate without a name":      func(a *VisitAnswer) { a.Gates[0].Gate = "" },
		"too many gaps":              func(a *VisitAnswer) { a.Gates[0].Gaps = make([]Gap, MaxGaps+1) },
		"a gap that ends too early":  func(a *VisitAnswer) { a.Gates[0].Gaps[0].To = now.Add(-time.Second) },
		"a time before 1970":         func(a *VisitAnswer) { a.Gates[0].Receipt = time.Unix(-1, 0) },
		"an alert that is no code":   func(a *VisitAnswer) { a.Gates[0].Alerts = []string{"Gap!"} },
		"too many alerts":            func(a *VisitAnswer) { a.Gates[0].Alerts = make([]string, maxAlerts+1) },
		"a damaged day that is none": func(a *VisitAnswer) { a.Damaged = []string{"yesterday"} },
	} {
		state := good
		state.Gaps = []Gap{good.Gaps[0]}
		a := VisitAnswer{Gates: []GateState{state}}
		change(&a)
		if _, err := encodeVisitAnswer(a); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
