package inquiry

import (
	"crypto/ed25519"
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

// Order makes a signed order with an identity of its own, and logs it.
func (a *Authority) Order(key ed25519.PrivateKey, r Request) (order.ID, []byte, error) {
	now := a.now().UTC().Truncate(time.Second)
	o := order.Order{
		ID: order.NewID(), Case: r.Case, Officer: r.Officer, Purpose: r.Purpose, Facility: r.Facility,
		From: r.From.UTC().Truncate(time.Second), To: r.To.UTC().Truncate(time.Second),
		Recipient: a.master.Recipient().String(), IssuedAt: now, Expires: now.Add(r.Valid),
	}
	// Tried with the authority's own recipient first: nothing is written for an order that does not hold.
	trial, err := order.Sign(key, o)
	if err != nil {
		return order.ID{}, nil, err
	}
	if _, err := a.Read(trial); err != nil {
		return order.ID{}, nil, fmt.Errorf("officer's key: %w", err)
	}
	identity, err := a.newIdentity(o.ID)
	if err != nil {
		return order.ID{}, nil, err
	}
	o.Recipient = identity.Recipient().String()
	signed, err := order.Sign(key, o)
	if err != nil {
		return order.ID{}, nil, err
	}
	if _, err := a.audit.Append(about(auditlog.KindOrder, o, "", now)); err != nil {
		return order.ID{}, nil, err
	}
	return o.ID, signed, nil
}

// Read checks a signed order and returns it, for the approving officer to see.
func (a *Authority) Read(signed []byte) (order.Order, error) {
	officers, err := a.officers()
	if err != nil {
		return order.Order{}, err
	}
	return order.ReadSigned(signed, officers, a.now())
}

// Approve approves a signed order with another officer's key, and logs it.
func (a *Authority) Approve(key ed25519.PrivateKey, signed []byte) ([]byte, error) {
	raw, err := order.Approve(key, signed)
	if err != nil {
		return nil, err
	}
	officers, err := a.officers()
	if err != nil {
		return nil, err
	}
	o, err := order.Verify(raw, officers, a.now())
	if err != nil {
		return nil, err
	}
	if _, err := a.audit.Append(about(auditlog.KindOrder, o.Order, o.Approver, a.now())); err != nil {
		return nil, err
	}
	return raw, nil
}

// about begins an entry of the audit log about an order.
func about(kind string, o order.Order, approver string, now time.Time) auditlog.Entry {
	return auditlog.Entry{
		Kind: kind, At: now, Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: approver, Purpose: o.Purpose,
		Facility: string(o.Facility), From: o.From, To: o.To,
	}
}
