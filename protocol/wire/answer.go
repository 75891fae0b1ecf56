package wire

import (
	"fmt"

	"github.com/kipass/kipass/protocol/visit"
)

// Bounds of the short codes in a receipt.
const (
	maxCode   = 32 // characters of a reason or an alert
	maxAlerts = 16
)

// Answers tells whether r can be the answer to a batch of segment s, which is not empty: it names s's journal, settles
// nothing beyond s's last record, and refuses only records of s up to Through, each once, in ascending order. If it asks
// for records before s, it settles nothing. A receipt that does not answer must not be settled: it is another's, or not
// from the server at all.
func (r Receipt) Answers(s visit.Segment) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Settled.Journal != s.Journal {
		return fmt.Errorf("receipt is for journal %v, sent was %v", r.Settled.Journal, s.Journal)
	}
	if r.Settled.Through > s.Through() {
		return fmt.Errorf("receipt settles through %d, sent was only through %d", r.Settled.Through, s.Through())
	}
	last := s.Records[0].Seq - 1
	for _, f := range r.Settled.Refused {
		if f.Seq <= last || f.Seq > r.Settled.Through {
			return fmt.Errorf("receipt refuses record %d, not after %d and up to %d", f.Seq, last, r.Settled.Through)
		}
		if !isCode(f.Reason) {
			return fmt.Errorf("receipt refuses record %d without a well-formed reason", f.Seq)
		}
		last = f.Seq
	}
	first := s.Records[0].Seq
	return r.checkResend(s.Journal, first-1, r.Settled.Through < first)
}

// checkResend checks what r asks for against the last sequence that was sent before; free says whether it may ask at all.
func (r Receipt) checkResend(journal visit.JournalID, before uint64, free bool) error {
	switch q := r.Resend; {
	case q == nil:
	case q.Journal != journal:
		return fmt.Errorf("receipt asks for journal %v, sent was %v", q.Journal, journal)
	case q.After >= before:
		return fmt.Errorf("receipt asks for records after %d, sent were those to %d", q.After, before)
	case !free:
		return fmt.Errorf("receipt asks for earlier records and settles later ones")
	}
	return nil
}

// AnswersHeartbeat tells whether r can be the answer to h: it settles nothing, and asks only for what h says was settled.
func (r Receipt) AnswersHeartbeat(h Heartbeat) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Settled.Journal != (visit.JournalID{}) || r.Settled.Through != 0 || len(r.Settled.Refused) != 0 {
		return fmt.Errorf("receipt for a heartbeat settles records")
	}
	return r.checkResend(h.Journal, h.Settled, h.Journal != (visit.JournalID{}))
}

func (r Receipt) check() error {
	if r.ServerTime <= 0 {
		return fmt.Errorf("receipt without the server's time")
	}
	if len(r.Alerts) > maxAlerts {
		return fmt.Errorf("receipt with %d alerts, at most %d", len(r.Alerts), maxAlerts)
	}
	for _, a := range r.Alerts {
		if !isCode(a) {
			return fmt.Errorf("receipt with a malformed alert")
		}
	}
	return nil
}

// isCode reports whether s is 1 to maxCode of a–z, 0–9 and '-'.
func isCode(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxCode
}
