package inquiry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
)

// ErrPartial says that the contact list is known to be incomplete: some issuer's codes could not be asked for, or the visit
// server does not have all visits of the window. The list is marked; running the order again asks anew.
var ErrPartial = errors.New("contact list is incomplete")

// Config says whom to ask.
type Config struct {
	Visits   Endpoint
	Issuers  func(name string) (Endpoint, error) // where an issuer answers, from the trust list
	Progress func(line string)                   // told what is being done, in counts only, one line at a time
}

// IssuersOf returns a Config.Issuers: URLs come from the verified trust list, roots from the caller.
func IssuersOf(list token.TrustList, roots func(name string) *x509.CertPool) func(string) (Endpoint, error) {
	return func(name string) (Endpoint, error) {
		i := slices.IndexFunc(list.Issuers, func(i token.Issuer) bool { return i.Name == name })
		if i < 0 {
			return Endpoint{}, errors.New("it is not in the trust list")
		}
		url := list.Issuers[i].URL
		if url == "" {
			return Endpoint{}, errors.New("the trust list gives no URL for it")
		}
		return Endpoint{URL: url, Roots: roots(name)}, nil
	}
}

// Summary is what came of an order, in counts only.
type Summary struct {
	Order      string                   `json:"order"`
	Complete   bool                     `json:"complete"`
	Scans      int                      `json:"scans"`    // visits the visit server gave
	Codes      int                      `json:"codes"`    // different codes among them
	Opened     int                      `json:"opened"`   // codes whose holder is known
	Unopened   int                      `json:"unopened"` // codes an issuer could or would not open
	Contacts   int                      `json:"contacts"` // different persons
	Issuers    map[string]IssuerSummary `json:"issuers"`
	Gates      []Gate                   `json:"gates"`
	Shortfalls []Shortfall              `json:"shortfalls,omitempty"` // why visits are missing
	LogEntries []string                 `json:"logs"`                 // entries of the audit logs, "party#number"
	List       string                   `json:"list"`                 // file of the encrypted contact list
}

// IssuerSummary is one issuer's part.
type IssuerSummary struct {
	Codes    int    `json:"codes"`
	Opened   int    `json:"opened"`
	Unopened int    `json:"unopened"`
	Missing  int    `json:"missing"`         // codes not asked for because it failed
	Error    string `json:"error,omitempty"` // why
}

// Run carries out an approved order made in this folder: asks the visit server, then every issuer named in its answer,
// and writes the contact list, encrypted. Each run asks anew, for what has come since, and is told of in every log. Where
// an issuer fails, what it answered to earlier runs stands in for it; what is missing then, or at the visit server, marks
// the list, the error wraps ErrPartial, and the summary is valid.
func (a *Authority) Run(ctx context.Context, approved []byte, c Config) (Summary, error) {
	x, err := a.execution(approved, c)
	if err != nil {
		return Summary{}, err
	}
	// Nothing is asked for, here or anywhere under this order's key, that the log does not tell of.
	if _, err := a.audit.Append(about(auditlog.KindAsked, x.order, a.now())); err != nil {
		return Summary{}, err
	}
	visits, err := x.askVisits(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("visit server: %w", err)
	}
	x.say(fmt.Sprintf("visit server: %d scans (log entry %d)", len(visits.Scans), visits.Entry))
	shares := split(visits.Scans)
	var wait sync.WaitGroup
	for _, s := range shares {
		wait.Go(func() { x.askIssuer(ctx, s) })
	}
	wait.Wait()
	if err := x.recallAll(shares); err != nil {
		return Summary{}, err
	}
	return a.finish(x, join(x.order, visits, shares), shares)
}

// execution is one approved order that is being carried out.
type execution struct {
	Config
	saying    sync.Mutex // Progress is called by one goroutine at a time
	dir       string     // the order's folder, where answers are kept as they came
	run       int        // from 1: how often the order was run before, and once more
	approved  []byte     // the order with its particulars, for the visit server
	forIssuer []byte     // the order as issuers are given it
	order     order.Approved
	identity  *age.X25519Identity // opens the answers
}

// say tells the progress. Several issuers are asked at once.
func (x *execution) say(line string) {
	x.saying.Lock()
	defer x.saying.Unlock()
	x.Progress(line)
}

// execution checks an approved order, which must have been made in this folder.
func (a *Authority) execution(approved []byte, c Config) (*execution, error) {
	o, err := a.verify(approved)
	if err != nil {
		return nil, err
	}
	identity, err := a.identity(o.ID)
	if err != nil {
		return nil, err
	}
	if identity.Recipient().String() != o.Recipient.Recipient {
		return nil, fmt.Errorf("%w: its recipient is not the key made for it here", order.ErrRefused)
	}
	forIssuer, err := order.ForIssuer(approved)
	if err != nil {
		return nil, err
	}
	run, err := nextRun(a.orderDir(o.ID))
	if err != nil {
		return nil, err
	}
	return &execution{
		Config: c, dir: a.orderDir(o.ID), run: run, approved: approved, forIssuer: forIssuer, order: o, identity: identity,
	}, nil
}

// finish logs the contact list and then writes it.
func (a *Authority) finish(x *execution, list ContactList, shares []*share) (Summary, error) {
	list.MadeAt = a.now().UTC()
	s := list.summary(shares)
	entry := about(auditlog.KindContacts, x.order, a.now())
	entry.Count, entry.Refused, entry.LogEntries = uint64(s.Contacts), uint64(s.Unopened), s.LogEntries
	if !s.Complete {
		entry.Note = "incomplete"
	}
	n, err := a.audit.Append(entry)
	if err != nil {
		return Summary{}, err
	}
	list.LogEntries = append(list.LogEntries, fmt.Sprintf("%s#%d", AuditOrigin, n))
	s.LogEntries = list.LogEntries
	plain, err := list.encode()
	if err != nil {
		return Summary{}, err
	}
	sealed, err := encrypt(x.identity.Recipient(), plain)
	if err != nil {
		return Summary{}, err
	}
	s.List = filepath.Join(x.dir, contactsFile)
	if err := (durable.Disk{}).Replace(s.List, sealed, 0o600); err != nil {
		return Summary{}, fmt.Errorf("writing the contact list: %w", err)
	}
	if !s.Complete {
		return s, fmt.Errorf("%w: %s", ErrPartial, list.lacks())
	}
	return s, nil
}
