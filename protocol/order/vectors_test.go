package order

import (
	"encoding/hex"
	"flag"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectorIdentity opens the answers among the vectors, and nothing else.
const vectorIdentity = "AGE-SECRET-KEY-10T6FJ5CNMYYQ889CQSMRZGECAPKMV862ZHP79FW0HE75VKSM5T9QWU3XVC"

// vectors is the published file. All but the sealed answers follows from the code; an encryption draws random bytes, so
// those are fixed once, and only their opening is tested. Byte strings are in hexadecimal.
type vectors struct {
	About     string          `json:"about"`
	Now       int64           `json:"now_s"`     // when orders are checked, unless a vector says otherwise
	Identity  string          `json:"identity"`  // age identity of the recipient
	Root      vectorRoot      `json:"root"`      // of the authority
	Officers  []vectorOfficer `json:"officers"`  // the register
	Orders    []vectorOrder   `json:"orders"`    // hold
	Refused   []vectorRefused `json:"refused"`   // do not hold
	Questions []vectorMessage `json:"questions"` // to an issuer
	Visits    []vectorVisits  `json:"visit_answers"`
	Holders   []vectorHolders `json:"issuer_answers"`
	Problems  []vectorProblem `json:"problems"`
	Malformed []vectorBroken  `json:"malformed_questions"`
}

type vectorRoot struct {
	Name    string `json:"name"`
	Private string `json:"private"` // Ed25519 seed (RFC 8032)
	Public  string `json:"public"`
	Text    string `json:"text"` // as people pass it on
	KeyID   string `json:"key_id"`
}

type vectorOfficer struct {
	Name    string `json:"name"`
	Private string `json:"private"` // Ed25519 seed (RFC 8032)
	Public  string `json:"public"`
	Text    string `json:"text"` // line of a register
	KeyID   string `json:"key_id"`
}

type vectorOrder struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Case      string `json:"case"`
	Officer   string `json:"officer"`
	Approver  string `json:"approver"`
	Purpose   string `json:"purpose"`
	Facility  string `json:"facility"`
	Salt      string `json:"salt"`
	From      int64  `json:"from_s"`
	To        int64  `json:"to_s"`
	IssuedAt  int64  `json:"issued_at_s"`
	Expires   int64  `json:"expires_s"`
	Recipient string `json:"recipient"`
	// Fingerprint is of the recipient, as an approving officer sees it.
	Fingerprint string `json:"fingerprint"`
	Entry       uint64 `json:"log_entry"`
	Digest      string `json:"digest"` // what the certificate binds the recipient to
	Certificate string `json:"certificate"`
	Payload     string `json:"payload"`
	Signed      string `json:"signed"`
	Approved    string `json:"approved"`
	ForIssuer   string `json:"for_issuer"`
}

type vectorRefused struct {
	Name   string `json:"name"`
	Why    string `json:"why"` // "malformed", "refused", or "recipient": refused for its recipient alone
	Issuer bool   `json:"issuer"`
	Now    int64  `json:"now_s"`
	Order  string `json:"order"` // as the visit server is given it; where issuer is true, as an issuer is
}

type vectorMessage struct {
	Name     string   `json:"name"`
	Order    string   `json:"order"`
	Codes    []string `json:"codes"`
	Question string   `json:"question"`
}

type vectorScan struct {
	At       int64  `json:"at_ms"`
	Facility string `json:"facility"`
	Gate     string `json:"gate"`
	Issuer   string `json:"issuer"`
	CTI      string `json:"cti"`
	Clock    uint8  `json:"clock"`
	Skew     int64  `json:"skew_ms"`
	Flags    uint8  `json:"flags"`
}

func scanVector(s Scan) vectorScan {
	return vectorScan{
		At: s.At.UnixMilli(), Facility: string(s.Facility), Gate: string(s.Gate), Issuer: s.Issuer, CTI: hex.EncodeToString(s.CTI[:]),
		Clock: uint8(s.Clock), Skew: s.Skew.Milliseconds(), Flags: uint8(s.Flags),
	}
}

// vectorGate has 0 for a time that never was.
type vectorGate struct {
	Gate      string      `json:"gate"`
	Receipt   int64       `json:"receipt_ms"`
	Delivered int64       `json:"delivered_ms"`
	Backlog   uint64      `json:"backlog"`
	Gaps      []vectorGap `json:"gaps"`
	Alerts    []string    `json:"alerts"`
}

type vectorGap struct {
	From    int64  `json:"from_ms"`
	To      int64  `json:"to_ms"`
	Missing uint64 `json:"missing"`
}

func gateVector(g GateState) vectorGate {
	v := vectorGate{Gate: string(g.Gate), Receipt: millis(g.Receipt), Delivered: millis(g.Delivered), Backlog: g.Backlog, Alerts: g.Alerts}
	for _, gap := range g.Gaps {
		v.Gaps = append(v.Gaps, vectorGap{millis(gap.From), millis(gap.To), gap.Missing})
	}
	return v
}

type vectorVisits struct {
	Name    string       `json:"name"`
	Entry   uint64       `json:"log_entry"`
	Order   string       `json:"order"`
	Scans   []vectorScan `json:"scans"`
	Gates   []vectorGate `json:"gates"`
	Damaged []string     `json:"damaged"`
	Plain   string       `json:"plain"`
	Sealed  string       `json:"sealed"`
}

type vectorHolder struct {
	CTI   string `json:"cti"`
	Name  string `json:"name"`
	Phone string `json:"phone"`
	At    int64  `json:"issued_at_s"`
}

type vectorHolders struct {
	Name     string         `json:"name"`
	Entry    uint64         `json:"log_entry"`
	Order    string         `json:"order"`
	Holders  []vectorHolder `json:"holders"`
	Unopened []string       `json:"unopened"`
	Plain    string         `json:"plain"`
	Sealed   string         `json:"sealed"`
}

type vectorProblem struct {
	Name    string `json:"name"`
	Detail  string `json:"detail"`
	Problem string `json:"problem"`
}

type vectorBroken struct {
	Name     string `json:"name"`
	Question string `json:"question"`
}

func TestSpecExamplesAreVectors(t *testing.T) { testkit.SpecExamples(t, 4) }

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	made := makeVectors(t)
	if *update {
		sealVectors(t, &made)
	} else {
		kept := testkit.ReadVectors[vectors](t, vectorFile)
		for i := range made.Visits {
			made.Visits[i].Sealed = kept.Visits[i].Sealed
		}
		for i := range made.Holders {
			made.Holders[i].Sealed = kept.Holders[i].Sealed
		}
	}
	testkit.CheckVectors(t, vectorFile, made, *update)
}
