package visitserver

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
)

const (
	tableOfficer   = "officer"
	tableAuthority = "authority"
	authorityRoot  = "root" // the key in tableAuthority: the health authority's public key that certifies recipients
)

// AddOfficer registers an officer of the health authority whose orders and approvals hold from now on.
func (s *Server) AddOfficer(ctx context.Context, o order.Officer) error {
	known, err := s.officerList(ctx)
	if err != nil {
		return err
	}
	if _, err := order.NewOfficers(append(known, o)...); err != nil {
		return err
	}
	if err := s.store.Swap(ctx, store.Change{Table: tableOfficer, Key: o.Name, New: o.Public}); err != nil {
		return err
	}
	_, err = s.trusted(ctx)
	return err
}

// RemoveOfficer ends an officer's authority.
func (s *Server) RemoveOfficer(ctx context.Context, name string) error {
	raw, err := s.store.Get(ctx, tableOfficer, name)
	if err != nil {
		return fmt.Errorf("officer %s: %w", name, err)
	}
	if err := s.store.Swap(ctx, store.Change{Table: tableOfficer, Key: name, Old: raw}); err != nil {
		return err
	}
	_, err = s.trusted(ctx)
	return err
}

// SetAuthorityRoot sets the key with which the health authority certifies recipients of orders, in place of the one that
// may be set: orders certified by that one are refused from now on.
func (s *Server) SetAuthorityRoot(ctx context.Context, root ed25519.PublicKey) error {
	if err := publickey.Check(root); err != nil {
		return fmt.Errorf("authority's root key: %w", err)
	}
	old, err := optional(s.store.Get(ctx, tableAuthority, authorityRoot))
	if err != nil {
		return err
	}
	if err := s.store.Swap(ctx, store.Change{Table: tableAuthority, Key: authorityRoot, Old: old, New: root}); err != nil {
		return fmt.Errorf("setting the authority's root key: %w", err)
	}
	_, err = s.trusted(ctx)
	return err
}

// trusted is whose orders are obeyed. The audit log tells of everybody in it.
func (s *Server) trusted(ctx context.Context) (order.Trusted, error) {
	list, err := s.officerList(ctx)
	if err != nil {
		return order.Trusted{}, err
	}
	officers, err := order.NewOfficers(list...)
	if err != nil {
		return order.Trusted{}, err
	}
	root, err := optional(s.store.Get(ctx, tableAuthority, authorityRoot))
	if err != nil {
		return order.Trusted{}, err
	}
	t := order.Trusted{Officers: officers, Root: root}
	return t, errors.Join(
		s.audit.SyncRegister(auditlog.RegisterOfficers, officers.Keys(), s.now()),
		s.audit.SyncRegister(auditlog.RegisterAuthority, keyOf("root", root), s.now()))
}

// logRegisters makes the audit log tell of every register as it stands: a change that was not logged, because the server was
// killed in between, is.
func (s *Server) logRegisters(ctx context.Context) error {
	if _, err := s.trusted(ctx); err != nil {
		return err
	}
	if err := s.logTrustRoot(ctx); err != nil {
		return err
	}
	return s.logManagers(ctx)
}

// keyOf is a register of at most one key, by its name.
func keyOf(name string, key ed25519.PublicKey) map[string]string {
	if key == nil {
		return nil
	}
	return map[string]string{name: order.KeyIDOf(key).String()}
}

func (s *Server) officerList(ctx context.Context) ([]order.Officer, error) {
	entries, err := s.store.List(ctx, tableOfficer, "")
	if err != nil {
		return nil, err
	}
	var all []order.Officer
	for _, e := range entries {
		all = append(all, order.Officer{Name: e.Key, Public: ed25519.PublicKey(e.Value)})
	}
	return all, nil
}

// takeOrder answers an approved order of the health authority. The entry of the audit log is durable before the first
// byte of the answer leaves.
func (s *Server) takeOrder(w http.ResponseWriter, r *http.Request) error {
	raw, err := httpserver.ReadBody(w, r, order.TypeOrder, order.MaxOrder)
	if err != nil {
		return err
	}
	release, err := s.acquire(r.Context())
	if err != nil {
		return err
	}
	defer release()
	sealed, err := s.obey(r.Context(), raw)
	if err != nil {
		return err
	}
	httpserver.Write(w, http.StatusOK, order.TypeVisitAnswer, sealed)
	return nil
}

func (s *Server) obey(ctx context.Context, raw []byte) ([]byte, error) {
	trusted, err := s.trusted(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	o, err := order.Verify(raw, trusted, now)
	if err != nil {
		return nil, s.refuse(raw, err, now)
	}
	if _, err := s.store.Get(ctx, tableFacility, string(o.Facility)); errors.Is(err, store.ErrNotFound) {
		return nil, orderRefused.Withf("facility %s is not registered here", o.Facility)
	} else if err != nil {
		return nil, err
	}
	// Before the visits: what a gate has delivered by then is among them.
	gates, err := s.gateStates(ctx, o.Order)
	if err != nil {
		return nil, err
	}
	scans, damaged, err := s.scans(ctx, o.Order, now)
	if err != nil {
		return nil, err
	}
	entry := about(auditlog.KindInquiry, o, now)
	entry.Count = uint64(len(scans))
	n, err := s.audit.Append(entry)
	if err != nil {
		return nil, err
	}
	return order.SealVisitAnswer(o.Recipient, order.VisitAnswer{Entry: n, Order: o.ID, Scans: scans, Gates: gates, Damaged: damaged})
}

// about begins an entry of the audit log about an order.
func about(kind string, o order.Approved, now time.Time) auditlog.Entry {
	return auditlog.Entry{
		Kind: kind, At: now, Order: o.ID.String(), Case: o.Case, Officer: o.Officer, Approver: o.Approver,
		Facility: string(o.Facility), From: o.From, To: o.To, Digest: hex.EncodeToString(o.Digest[:]),
	}
}

// refuse tells why an order does not hold. Two officers who would have the answer go to a key that the authority does not
// know become an entry of the audit log and a line of the operator's, one for each order: whoever has it may send it again and
// again.
func (s *Server) refuse(raw []byte, err error, now time.Time) error {
	var recipient *order.RecipientError
	if errors.As(err, &recipient) && s.refused.Told(raw) {
		return recipientRefused.With(err.Error())
	}
	s.strangers.Warn(s.log, "an order was refused", "error", err)
	if recipient != nil {
		entry := about(auditlog.KindRefused, recipient.Order, now)
		entry.Note = order.CodeRecipient
		if _, failed := s.audit.Append(entry); failed != nil {
			return failed
		}
		s.refused.Note(raw)
		return recipientRefused.With(err.Error())
	}
	if errors.Is(err, order.ErrMalformed) {
		return badOrder.With(err.Error())
	}
	return orderRefused.With(err.Error())
}

// scans are the visits an order covers, in order of time, and the days of which some may be missing. Days whose four weeks
// are over are passed by even in the moment before they are destroyed.
func (s *Server) scans(ctx context.Context, o order.Order, now time.Time) (scans []order.Scan, damaged []string, err error) {
	if damaged, err = s.damagedDays(ctx, o); err != nil {
		return nil, nil, err
	}
	doubt := doubts{s: s, facility: o.Facility, journals: map[string]bool{}}
	for d := max(day.Of(o.From), day.OldestKept(now)); d <= day.Of(o.To); d++ {
		keys, err := s.keys.Keys(d)
		switch {
		case errors.Is(err, daykey.ErrNoKey): // then there are no visits of the day either
		case errors.Is(err, daykey.ErrDamaged):
			damaged = append(damaged, d.String())
			continue
		case err != nil:
			return nil, nil, err
		}
		first := len(scans)
		for row, err := range s.store.Window(ctx, o.Facility, d, o.From, o.To) {
			if errors.Is(err, store.ErrDamaged) {
				damaged = append(damaged, d.String())
				break
			}
			if err != nil {
				return nil, nil, err
			}
			if len(scans) == order.MaxScans {
				return nil, nil, tooManyVisits.Withf("more than %d visits: ask for shorter windows", order.MaxScans)
			}
			r, err := openRow(keys, o.Facility, row)
			if errors.Is(err, rowcipher.ErrDamaged) {
				damaged = append(damaged, d.String())
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			flags, err := doubt.flags(ctx, row, r)
			if err != nil {
				return nil, nil, err
			}
			scans = append(scans, order.Scan{
				At: row.At, Facility: o.Facility, Gate: row.Gate, Issuer: r.Issuer, CTI: r.CTI, Clock: r.Clock, Skew: r.Skew,
				Flags: flags,
			})
		}
		if err := doubt.elsewhere(ctx, d, keys, scans[first:]); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(damaged)
	return scans, slices.Compact(damaged), nil
}

// openRow opens a row under the key of its day that it was sealed under: a day has more than one when a damaged key was
// replaced and then put right. One whose key is gone is damaged.
func openRow(keys []*rowcipher.Key, f visit.Facility, row store.Row) (r rowcipher.Record, err error) {
	err = rowcipher.ErrDamaged
	for _, key := range keys {
		if r, err = key.Open(f, row); err == nil {
			return r, nil
		}
	}
	return rowcipher.Record{}, err
}
