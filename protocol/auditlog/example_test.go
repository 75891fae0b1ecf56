package auditlog_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
)

// A party logs what it gives out, and an auditor who kept an earlier checkpoint sees that the log has only grown.
func Example() {
	dir, err := os.MkdirTemp("", "auditlog-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const origin = "visits.example.kr/audit"
	logKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)) // of a test, never of a real log

	// The party.
	audit, err := auditlog.Open(dir, logKey, origin)
	if err != nil {
		log.Fatal(err)
	}
	defer audit.Close()
	kept := audit.Checkpoint() // an auditor fetches this one
	number, err := audit.Append(auditlog.Entry{
		Kind: auditlog.KindInquiry, At: time.Date(2020, 7, 10, 9, 0, 0, 0, time.UTC),
		Case: "2020-0701-17", Officer: "kim", Approver: "lee", Facility: "hongdae-12", Count: 214,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("entry", number, "is durable: the answer may leave")
	entries, checkpoint, err := audit.Snapshot() // as the party publishes them
	if err != nil {
		log.Fatal(err)
	}

	// The auditor, later.
	vkey, err := auditlog.VerifierKey(origin, logKey.Public().(ed25519.PublicKey))
	if err != nil {
		log.Fatal(err)
	}
	report, err := auditlog.Check(entries, checkpoint, vkey, kept)
	if err != nil {
		log.Fatal(err)
	}
	for i, e := range report.Entries {
		fmt.Printf("%d: %s of %d visits at %s, ordered by %s, approved by %s\n",
			i, e.Kind, e.Count, e.Facility, e.Officer, e.Approver)
	}
	_, err = auditlog.Check(bytes.Replace(entries, []byte("214"), []byte("114"), 1), checkpoint, vkey)
	fmt.Println("with another number of visits, found:", errors.Is(err, auditlog.ErrTampered))

	// Output:
	// entry 0 is durable: the answer may leave
	// 0: inquiry of 214 visits at hongdae-12, ordered by kim, approved by lee
	// with another number of visits, found: true
}
