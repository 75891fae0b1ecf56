package firmware

import (
	"errors"

	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// Authenticity is what parsing and verifying made of a frame.
type Authenticity uint8

const (
	NotACode Authenticity = iota
	UnknownIssuer
	NotGenuine
	Genuine
)

// authenticityOf names the result of token.Parse and token.Unverified.Verify.
func authenticityOf(err error) Authenticity {
	switch {
	case err == nil:
		return Genuine
	case errors.Is(err, token.ErrUnknownIssuer):
		return UnknownIssuer
	case errors.Is(err, token.ErrNotGenuine):
		return NotGenuine
	default:
		return NotACode
	}
}

// Facts are all that the outcome of a presentation depends on. The zero Facts give out-of-service.
type Facts struct {
	InService    bool            // enrolled, not revoked, clock not refused
	Authenticity Authenticity    // what was read
	Freshness    token.Freshness // of a genuine code, judged by freshness
	Seen         bool            // the same code was admitted by this gate within its life
	Recent       bool            // and that was at this lane a moment ago: it is the same visitor
	Durable      bool            // the visit is in the journal and on the disk
}

// Decide is the gate's one decision. It is pure; its test is its table. Asked before the journal, with
// Durable assumed, it tells whether the visit is to be journalled at all: only if the answer is admitted.
func Decide(f Facts) visit.Outcome {
	switch {
	case !f.InService:
		return visit.OutOfService
	case f.Authenticity == NotACode:
		return visit.NotACode
	case f.Authenticity == UnknownIssuer:
		return visit.UnknownIssuer
	case f.Authenticity != Genuine:
		return visit.NotGenuine
	case f.Freshness == token.NotYetValid:
		return visit.NotYetValid
	case f.Freshness != token.Fresh:
		return visit.Expired
	case f.Seen && f.Recent:
		return visit.AdmittedAgain
	case f.Seen:
		return visit.CodeUsed
	case !f.Durable:
		return visit.OutOfService
	default:
		return visit.Admitted
	}
}

// freshness judges a genuine code at a moment, and returns the reading by which its visit is to be recorded. While the
// clock is untrusted only what is known for certain counts: a code that had expired by then is expired, any other is let
// through and its visit marked as of unproven time. A clock that is a mere suspicion condemns no code either, unless
// visits of unproven time are not wanted (strict).
func freshness(c token.Code, at clock.Reading, known Clock, strict bool) (token.Freshness, clock.Reading) {
	if at.State != visit.ClockUntrusted {
		f := c.Fresh(at.Now, at.Skew)
		if f == token.Fresh || strict || !at.Suspect {
			return f, at
		}
		at = at.Unproven()
	}
	if known.MayBeFresh(c.Issuer(), c.IssuedAt()) {
		return token.Fresh, at
	}
	return token.Expired, at
}
