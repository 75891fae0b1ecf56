// Package visit holds what a scan becomes: its outcome, the visit record, the names of places, and the sealing and
// chaining that make a record readable by the visit server alone and its loss visible. It imports no other package of ours.
package visit

import "fmt"

// Outcome is what one presentation of something to a reader led to. The set is closed: every table over outcomes
// (voice, screen, lights, metrics) is tested against [Outcomes].
type Outcome uint8

const (
	// OutOfService is the zero value, so that a forgotten outcome can never be green.
	OutOfService  Outcome = iota // the journal cannot be written, the clock is refused, the gate is revoked or not enrolled
	Admitted                     // genuine, fresh, new and durably journalled
	AdmittedAgain                // the same code at the same lane within 5 s of its admission: it is the same visitor
	CodeUsed                     // a code that was admitted before: it lets in one person, the next needs one of their own
	Expired                      // older than its 15 s plus the skew allowance
	NotYetValid                  // issued in the future beyond the skew allowance
	UnknownIssuer                // signed by a key that is not in the trust list
	NotGenuine                   // wrong signature or wrong claims
	NotACode                     // any other barcode, or garbage
)

var outcomeCodes = [...]string{
	OutOfService:  "out-of-service",
	Admitted:      "admitted",
	AdmittedAgain: "admitted-again",
	CodeUsed:      "code-used",
	Expired:       "expired",
	NotYetValid:   "not-yet-valid",
	UnknownIssuer: "unknown-issuer",
	NotGenuine:    "not-genuine",
	NotACode:      "not-a-code",
}

// Outcomes lists every outcome once, in a fixed order.
func Outcomes() []Outcome {
	all := make([]Outcome, len(outcomeCodes))
	for i := range all {
		all[i] = Outcome(i)
	}
	return all
}

// String returns the stable code, for example "admitted-again".
func (o Outcome) String() string {
	if int(o) < len(outcomeCodes) {
		return outcomeCodes[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// ParseOutcome returns the outcome whose stable code is s.
func ParseOutcome(s string) (Outcome, error) {
	for i, code := range outcomeCodes {
		if code == s {
			return Outcome(i), nil
		}
	}
	return OutOfService, fmt.Errorf("no outcome is called %q", s)
}

// Green reports whether the visitor is shown green and may pass.
func (o Outcome) Green() bool { return o.Signal() == SignalGreen }

// Signal is the colour in which an outcome is told, by light, screen and tone alike.
type Signal uint8

const (
	SignalRed   Signal = iota // the visitor cannot enter with this
	SignalAmber               // the visitor can mend it and try again
	SignalGreen               // the visitor may pass
)

// String returns "red", "amber" or "green".
func (s Signal) String() string {
	switch s {
	case SignalGreen:
		return "green"
	case SignalAmber:
		return "amber"
	default:
		return "red"
	}
}

// Signal returns the colour of the outcome. What is not listed is red.
func (o Outcome) Signal() Signal {
	switch o {
	case Admitted, AdmittedAgain:
		return SignalGreen
	case CodeUsed, Expired, NotYetValid, NotACode:
		return SignalAmber
	default:
		return SignalRed
	}
}
