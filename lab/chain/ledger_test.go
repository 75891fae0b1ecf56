package chain

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver"
)

// A real journal with ten records of which the server has settled six and has taken eight.
func TestCheckLedger(t *testing.T) {
	key, err := visit.GenerateSealKey()
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Facility: "f", Gate: "g", SealKey: key.Public(), FreeFloor: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range 10 {
		if _, err := j.Append(context.Background(), visit.Visit{At: time.Now().Truncate(time.Millisecond), Issuer: "naver", CTI: visit.CTI{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	segment, err := j.Peek(8, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Settle(visit.Settlement{Journal: segment.Journal, Through: 6, Refused: []visit.Refusal{{Seq: 3, Reason: "malformed"}}}); err != nil {
		t.Fatal(err)
	}
	device, err := j.Ledger()
	if err != nil {
		t.Fatal(err)
	}
	head := segment.Head()
	good := visitserver.JournalLedger{Journal: segment.Journal.String(), Last: 8, Chain: hex.EncodeToString(head[:]), Stored: 6, Again: 1, Refused: 1}
	if err := CheckLedger(device, good); err != nil {
		t.Errorf("a batch taken whose receipt was lost: %v", err)
	}
	for rule, change := range map[string]func(*visitserver.JournalLedger){
		"another journal":                       func(l *visitserver.JournalLedger) { l.Journal = visit.JournalID{}.String() },
		"the server behind what was let go":     func(l *visitserver.JournalLedger) { l.Last, l.Stored = 5, 3 },
		"the server ahead of what was written":  func(l *visitserver.JournalLedger) { l.Last, l.Stored = 11, 9 },
		"another chain":                         func(l *visitserver.JournalLedger) { l.Chain = hex.EncodeToString(make([]byte, 32)) },
		"a visit not stored":                    func(l *visitserver.JournalLedger) { l.Stored-- },
		"a gap the device does not know of":     func(l *visitserver.JournalLedger) { l.Stored--; l.Missing++ },
		"a quarantined record never refused":    func(l *visitserver.JournalLedger) { l.Refused--; l.Stored++ },
		"a fork":                                func(l *visitserver.JournalLedger) { l.Alerts = map[string]int{"fork": 1} },
		"a gap alert without destroyed records": func(l *visitserver.JournalLedger) { l.Alerts = map[string]int{"gap": 1} },
	} {
		l := good
		change(&l)
		if CheckLedger(device, l) == nil {
			t.Errorf("%s goes unnoticed", rule)
		}
	}
}
