package inquiry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// askVisits returns the visit server's answer.
func (x *execution) askVisits(ctx context.Context) (order.VisitAnswer, error) {
	fetch := func() ([]byte, error) {
		return x.Visits.post(ctx, message{contentType: order.TypeOrder, body: x.approved, answerType: order.TypeVisitAnswer})
	}
	return keep(x.visitsPath(), fetch, func(sealed []byte) (order.VisitAnswer, error) {
		a, err := order.OpenVisitAnswer(sealed, x.identity)
		if err != nil {
			return order.VisitAnswer{}, err
		}
		seen := map[visit.Gate]bool{}
		if a.Order != x.order.ID {
			return order.VisitAnswer{}, fmt.Errorf("it answers order %v instead of %v", a.Order, x.order.ID)
		}
		for _, g := range a.Gates { // of two states one would hide the other
			if seen[g.Gate] {
				return order.VisitAnswer{}, fmt.Errorf("it tells of gate %s twice", g.Gate)
			}
			seen[g.Gate] = true
		}
		for _, s := range a.Scans {
			if s.Facility != x.order.Facility || !x.order.Covers(s.At) {
				return order.VisitAnswer{}, errors.New("its answer holds a scan outside the order")
			}
		}
		return a, nil
	})
}

// share is one issuer's part of an order: the codes it is asked to open, and what it has answered so far.
type share struct {
	issuer   string
	codes    []visit.CTI
	holders  []order.Holder
	unopened []visit.CTI
	entries  []uint64 // of its audit log, one for each question it answered
	err      error    // why it was asked no further
}

// answered is how many codes were asked for and answered.
func (s *share) answered() int { return len(s.holders) + len(s.unopened) }

// code is what tells one code from another: a record may name any issuer, so the cti alone does not.
type code struct {
	issuer string
	cti    visit.CTI
}

// split gives each issuer the codes that were scanned under its name, each once.
func split(scans []order.Scan) []*share {
	seen := map[code]bool{}
	byIssuer := map[string]*share{}
	for _, s := range scans {
		c := code{s.Issuer, s.CTI}
		if seen[c] {
			continue
		}
		seen[c] = true
		if byIssuer[s.Issuer] == nil {
			byIssuer[s.Issuer] = &share{issuer: s.Issuer}
		}
		byIssuer[s.Issuer].codes = append(byIssuer[s.Issuer].codes, s.CTI)
	}
	return slices.SortedFunc(maps.Values(byIssuer), func(a, b *share) int { return strings.Compare(a.issuer, b.issuer) })
}

// askIssuer asks an issuer for its share, in as many questions as it takes, until one fails.
func (x *execution) askIssuer(ctx context.Context, s *share) {
	n := 0
	for codes := range slices.Chunk(s.codes, order.MaxCodes) {
		a, err := x.question(ctx, s.issuer, n, codes)
		if err != nil {
			s.err = err
			x.say(fmt.Sprintf("issuer %s: failed after %d of %d codes: %v", s.issuer, s.answered(), len(s.codes), err))
			return
		}
		n++
		s.holders = append(s.holders, a.Holders...)
		s.unopened = append(s.unopened, a.Unopened...)
		s.entries = append(s.entries, a.Entry)
		x.say(fmt.Sprintf("issuer %s: %d of %d codes, %d opened (log entry %d)",
			s.issuer, s.answered(), len(s.codes), len(s.holders), a.Entry))
	}
}

// question puts the n-th question to an issuer and returns its answer.
func (x *execution) question(ctx context.Context, issuer string, n int, codes []visit.CTI) (order.IssuerAnswer, error) {
	fetch := func() ([]byte, error) {
		e, err := x.Issuers(issuer)
		if err != nil {
			return nil, err
		}
		question, err := order.EncodeQuestion(order.Question{Order: x.forIssuer, Codes: codes})
		if err != nil {
			return nil, err
		}
		return e.post(ctx, message{contentType: order.TypeQuestion, body: question, answerType: order.TypeIssuerAnswer})
	}
	return keep(x.issuerPath(issuer, n), fetch, func(sealed []byte) (order.IssuerAnswer, error) {
		a, err := order.OpenIssuerAnswer(sealed, x.identity)
		if err != nil {
			return order.IssuerAnswer{}, err
		}
		if a.Order != x.order.ID {
			return order.IssuerAnswer{}, fmt.Errorf("it answers order %v instead of %v", a.Order, x.order.ID)
		}
		if err := complete(a, codes); err != nil {
			return order.IssuerAnswer{}, err
		}
		return a, nil
	})
}

// complete checks that an answer is about exactly the codes asked for; decoding saw to it that none stands twice.
func complete(a order.IssuerAnswer, codes []visit.CTI) error {
	asked := make(map[visit.CTI]bool, len(codes))
	for _, c := range codes {
		asked[c] = true
	}
	if len(a.Holders)+len(a.Unopened) != len(asked) {
		return fmt.Errorf("it answers about %d codes, %d were asked for", len(a.Holders)+len(a.Unopened), len(asked))
	}
	for _, holder := range a.Holders {
		if !asked[holder.CTI] {
			return errors.New("it answers about a code that was not asked for")
		}
	}
	for _, cti := range a.Unopened {
		if !asked[cti] {
			return errors.New("it answers about a code that was not asked for")
		}
	}
	return nil
}
