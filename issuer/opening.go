package issuer

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// scanTolerance is how far outside an order's window a code may have been issued, beside its 15 seconds. It leaves room for
// visits of unproven time, which the visit server moves to where they fit those around them. When a code was scanned is not
// asked: only the authority says so, while the time of issue is the issuer's own.
const scanTolerance = time.Hour

// Answer opens the codes of a question under its order and returns the answer encrypted to the authority. The audit log
// holds the opening durably before the answer exists. An error wraps order.ErrMalformed, order.ErrMessage or
// order.ErrRefused where it is the question's; then nothing was opened and nothing leaves.
func (i *Issuer) Answer(question []byte) ([]byte, error) {
	q, err := order.DecodeQuestion(question)
	if err != nil {
		return nil, err
	}
	trusted, err := i.trusted()
	if err != nil {
		return nil, err
	}
	now := i.opts.Now()
	o, err := order.VerifyForIssuer(q.Order, trusted, now)
	if err != nil {
		return nil, i.refuse(q.Order, err, now)
	}
	a := order.IssuerAnswer{Order: o.ID}
	for _, c := range q.Codes {
		h, iat, err := i.openCode(o.Order, token.CTI(c), now)
		switch {
		case err == nil:
			a.Holders = append(a.Holders, order.Holder{CTI: c, Name: h.Name, Phone: h.Phone, IssuedAt: iat})
		case errors.Is(err, errNotOurs):
			a.Unopened = append(a.Unopened, c)
		default:
			return nil, fmt.Errorf("opening codes for order %v: %w", o.ID, err)
		}
	}
	if len(a.Unopened) > 0 { // damage may have been found
		if err := i.tellDamage(); err != nil {
			return nil, err
		}
	}
	entry := entryAbout(auditlog.KindOpening, o, now)
	entry.Count, entry.Refused = uint64(len(a.Holders)), uint64(len(a.Unopened))
	if a.Entry, err = i.audit.Append(entry); err != nil {
		return nil, err
	}
	return order.SealIssuerAnswer(o.Recipient, a)
}

// entryAbout begins an entry of the audit log about an order.
func entryAbout(kind string, o order.Approved, now time.Time) auditlog.Entry {
	return auditlog.Entry{
		Kind: kind, At: now, Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: o.Approver,
		From: o.From, To: o.To, Digest: hex.EncodeToString(o.Digest[:]),
	}
}

// refuse passes on why an order does not hold. Two officers who would have the answer go to a key that the authority does
// not know become an entry of the audit log, one for each order: whoever has it may send it again and again.
func (i *Issuer) refuse(raw []byte, err error, now time.Time) error {
	var recipient *order.RecipientError
	if !errors.As(err, &recipient) {
		return err
	}
	if i.refused.Told(raw) {
		return err
	}
	entry := entryAbout(auditlog.KindRefused, recipient.Order, now)
	entry.Note = order.CodeRecipient
	if _, failed := i.audit.Append(entry); failed != nil {
		return failed
	}
	i.refused.Note(raw)
	return err
}

// openCode finds a code's holder and its time of issue. A code that is not to be opened, for whatever reason, gives
// errNotOurs: the authority learns no more of it.
func (i *Issuer) openCode(o order.Order, cti token.CTI, now time.Time) (holder, time.Time, error) {
	// What is before the oldest day kept is due for destruction, even if that has not come to it yet.
	oldest := day.OldestKept(now)
	if o.To.Before(oldest.Start()) { // a code of the last minute of a day is kept a day longer than visits of it
		return holder{}, time.Time{}, errNotOurs
	}
	from, to := o.From.Add(-scanTolerance-token.Lifetime), o.To.Add(scanTolerance)
	for d := day.OfCode(to); d >= max(day.OfCode(from), oldest); d-- {
		h, iat, err := i.openCodeOn(d, cti)
		switch {
		case errors.Is(err, errNotOurs) || errors.Is(err, daykey.ErrNoKey):
			continue
		case err != nil:
			return holder{}, time.Time{}, err
		case iat.Before(from) || iat.After(to):
			return holder{}, time.Time{}, errNotOurs
		}
		return h, iat, nil
	}
	return holder{}, time.Time{}, errNotOurs
}

func (i *Issuer) openCodeOn(d day.Day, cti token.CTI) (h holder, iat time.Time, err error) {
	keys, err := i.keys.Keys(d)
	if errors.Is(err, daykey.ErrDamaged) {
		return holder{}, time.Time{}, errNotOurs // until its file is put right
	}
	if err != nil {
		return holder{}, time.Time{}, err
	}
	for _, k := range keys {
		if h, iat, err = i.openCodeUnder(k, d, cti); !errors.Is(err, errNotOurs) {
			return h, iat, err
		}
	}
	return holder{}, time.Time{}, err
}

func (i *Issuer) openCodeUnder(k *dayKeys, d day.Day, cti token.CTI) (holder, time.Time, error) {
	r, err := openRef(k.cti, i.about.Name, cti)
	if err != nil {
		return holder{}, time.Time{}, err
	}
	return i.days.find(k, d, cti, r)
}
