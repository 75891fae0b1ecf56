package issuer

import (
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// scanTolerance is how far outside its 15 seconds a code may have been scanned by the clock of a gate: the widest skew
// allowance a visit record can carry.
const scanTolerance = time.Hour

// Answer opens the codes of a question under its order and returns the answer encrypted to the authority. The audit log
// holds the opening durably before the answer exists. An error wraps order.ErrMalformed, order.ErrMessage or
// order.ErrRefused where it is the question's; then nothing was opened and nothing leaves.
func (i *Issuer) Answer(question []byte) ([]byte, error) {
	q, err := order.DecodeQuestion(question)
	if err != nil {
		return nil, err
	}
	officers, err := i.Officers()
	if err != nil {
		return nil, err
	}
	now := i.opts.Now()
	o, err := order.VerifyWithoutPlace(q.Order, officers, now)
	if err != nil {
		return nil, err
	}
	a := order.IssuerAnswer{Order: o.ID}
	for _, c := range q.Codes {
		h, err := i.openCode(o.Order, c, now)
		switch {
		case err == nil:
			a.Holders = append(a.Holders, order.Holder{CTI: c.CTI, Name: h.Name, Phone: h.Phone})
		case errors.Is(err, errNotOurs):
			a.Unopened = append(a.Unopened, c.CTI)
		default:
			return nil, fmt.Errorf("opening codes for order %v: %w", o.ID, err)
		}
	}
	a.Entry, err = i.audit.Append(auditlog.Entry{
		Kind: auditlog.KindOpening, At: now, Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: o.Approver,
		Purpose: o.Purpose, From: o.From, To: o.To, Count: uint64(len(a.Holders)), Refused: uint64(len(a.Unopened)),
	})
	if err != nil {
		return nil, err
	}
	return order.SealIssuerAnswer(o.Recipient, a)
}

// openCode finds a code's holder. A code that is not to be opened, for whatever reason, gives errNotOurs: the authority
// learns no more of it.
func (i *Issuer) openCode(o order.Order, c order.Code, now time.Time) (holder, error) {
	if !o.Covers(c.At) {
		return holder{}, errNotOurs
	}
	first := day.Of(c.At.Add(-scanTolerance - token.Lifetime))
	for d := day.Of(c.At.Add(scanTolerance)); d >= first; d-- {
		if d < day.OldestKept(now) {
			break // due for destruction, even if that has not come to it yet
		}
		h, err := i.openCodeOn(d, c)
		if !errors.Is(err, errNotOurs) && !errors.Is(err, daykey.ErrNoKey) {
			return h, err
		}
	}
	return holder{}, errNotOurs
}

func (i *Issuer) openCodeOn(d day.Day, c order.Code) (h holder, err error) {
	keys, err := i.keys.Keys(d)
	if errors.Is(err, daykey.ErrDamaged) {
		return holder{}, errNotOurs // until its file is put right
	}
	if err != nil {
		return holder{}, err
	}
	for _, k := range keys {
		if h, err = i.openCodeUnder(k, d, c); !errors.Is(err, errNotOurs) {
			return h, err
		}
	}
	return holder{}, err
}

func (i *Issuer) openCodeUnder(k *dayKeys, d day.Day, c order.Code) (holder, error) {
	cti := token.CTI(c.CTI)
	r, err := openRef(k.cti, i.about.Name, cti)
	if err != nil {
		return holder{}, err
	}
	h, iat, err := i.days.find(k, d, cti, r)
	if err != nil {
		return holder{}, err
	}
	if c.At.Before(iat.Add(-scanTolerance)) || c.At.After(iat.Add(token.Lifetime+scanTolerance)) {
		return holder{}, errNotOurs
	}
	return h, nil
}
