package inquiry

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// Request is what an officer asks for.
type Request struct {
	Case, Officer, Purpose string
	Facility               visit.Facility
	From, To               time.Time
	Valid                  time.Duration // how long the order holds
}

// Order makes a signed order with an identity of its own, logs it, and certifies that identity's recipient for it.
func (a *Authority) Order(key ed25519.PrivateKey, r Request) (order.ID, []byte, error) {
	now := a.now().UTC().Truncate(time.Second)
	o := order.Order{
		ID: order.NewID(), Case: r.Case, Officer: r.Officer, Purpose: r.Purpose, Facility: r.Facility,
		From: r.From.UTC().Truncate(time.Second), To: r.To.UTC().Truncate(time.Second),
		IssuedAt: now, Expires: now.Add(r.Valid),
	}
	d, err := order.NewDraft(o)
	if err != nil {
		return order.ID{}, nil, err
	}
	// Tried with the authority's own recipient first: nothing is written for an order that does not hold.
	if err := a.try(key, d); err != nil {
		return order.ID{}, nil, fmt.Errorf("officer's key: %w", err)
	}
	identity, err := a.newIdentity(o.ID)
	if err != nil {
		return order.ID{}, nil, err
	}
	o.Digest = d.Digest()
	n, err := a.audit.Append(about(auditlog.KindOrder, order.Approved{Order: o}, now))
	if err != nil {
		return order.ID{}, nil, err
	}
	recipient, err := d.Certify(a.root, order.Certification{
		Authority: a.name, Recipient: identity.Recipient().String(), Entry: n,
	})
	if err != nil {
		return order.ID{}, nil, err
	}
	signed, err := d.Sign(key, recipient)
	if err != nil {
		return order.ID{}, nil, err
	}
	return o.ID, signed, nil
}

// try signs a draft as Order will and throws the signed order away.
func (a *Authority) try(key ed25519.PrivateKey, d order.Draft) error {
	recipient, err := d.Certify(a.root, order.Certification{Authority: a.name, Recipient: a.master.Recipient().String()})
	if err != nil {
		return err
	}
	signed, err := d.Sign(key, recipient)
	if err != nil {
		return err
	}
	trusted, err := a.trusted()
	if err != nil {
		return err
	}
	_, err = order.ReadSigned(signed, trusted, a.now())
	return err
}

// Read checks a signed order and returns it, for the approving officer to see. The authority's log must hold the entry that
// the order's certificate names.
func (a *Authority) Read(signed []byte) (order.Order, error) {
	trusted, err := a.trusted()
	if err != nil {
		return order.Order{}, err
	}
	o, err := order.ReadSigned(signed, trusted, a.now())
	if err != nil {
		return order.Order{}, a.refuse(err)
	}
	if err := a.checkLogged(o); err != nil {
		return order.Order{}, err
	}
	return o, nil
}

// Approve approves a signed order with another officer's key, and logs it.
func (a *Authority) Approve(key ed25519.PrivateKey, signed []byte) ([]byte, error) {
	raw, err := order.Approve(key, signed)
	if err != nil {
		return nil, err
	}
	o, err := a.verify(raw)
	if err != nil {
		return nil, err
	}
	if _, err := a.audit.Append(about(auditlog.KindOrder, o, a.now())); err != nil {
		return nil, err
	}
	return raw, nil
}

// verify checks an approved order, which must have been certified after this authority's log had it.
func (a *Authority) verify(approved []byte) (order.Approved, error) {
	trusted, err := a.trusted()
	if err != nil {
		return order.Approved{}, err
	}
	o, err := order.Verify(approved, trusted, a.now())
	if err != nil {
		return order.Approved{}, a.refuse(err)
	}
	if err := a.checkLogged(o.Order); err != nil {
		return order.Approved{}, err
	}
	return o, nil
}

// refuse logs an order whose recipient the authority did not certify; other errors are passed on.
func (a *Authority) refuse(err error) error {
	var recipient *order.RecipientError
	if !errors.As(err, &recipient) {
		return err
	}
	entry := about(auditlog.KindRefused, recipient.Order, a.now())
	entry.Note = order.CodeRecipient
	_, failed := a.audit.Append(entry)
	return errors.Join(err, failed)
}

// checkLogged refuses an order that the log does not tell of where its certificate says.
func (a *Authority) checkLogged(o order.Order) error {
	entries, _, err := a.audit.Snapshot()
	if err != nil {
		return err
	}
	leaves := auditlog.Leaves(entries)
	if o.Recipient.Entry < uint64(len(leaves)) {
		e, err := auditlog.ParseEntry(leaves[o.Recipient.Entry])
		if err != nil {
			return err
		}
		if e.Kind == auditlog.KindOrder && e.Digest == hex.EncodeToString(o.Digest[:]) {
			return nil
		}
	}
	return fmt.Errorf("%w: entry %d of this authority's audit log, which its certificate names, does not tell of it",
		order.ErrRefused, o.Recipient.Entry)
}

// about begins an entry of the audit log about an order.
func about(kind string, o order.Approved, now time.Time) auditlog.Entry {
	return auditlog.Entry{
		Kind: kind, At: now, Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: o.Approver,
		Facility: string(o.Facility), From: o.From, To: o.To, Digest: hex.EncodeToString(o.Digest[:]),
	}
}
