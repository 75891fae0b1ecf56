package inquiry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"filippo.io/age"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// ErrPartial says that some issuer's codes could not be asked for. The contact list made without them is marked; running
// the order again asks only for what is missing.
var ErrPartial = errors.New("contact list is incomplete")

// Config says whom to ask.
type Config struct {
	Visits   Endpoint
	Issuers  func(name string) (Endpoint, error) // where an issuer answers, from the trust list
	Progress func(line string)                   // told what is being done, in counts only; called by several goroutines
}

// IssuersOf returns a Config.Issuers: URLs come from the verified trust list, roots from the caller.
func IssuersOf(list token.TrustList, roots func(name string) Endpoint) func(string) (Endpoint, error) {
	return func(name string) (Endpoint, error) {
		i := slices.IndexFunc(list.Issuers, func(i token.Issuer) bool { return i.Name == name })
		if i < 0 {
			return Endpoint{}, errors.New("it is not in the trust list")
		}
		e := roots(name)
		e.URL = list.Issuers[i].URL
		if e.URL == "" {
			return Endpoint{}, errors.New("the trust list gives no URL for it")
		}
		return e, nil
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
	LogEntries []string                 `json:"logs"` // entries of the audit logs, "party#number"
	List       string                   `json:"list"` // file of the encrypted contact list
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
// and writes the contact list, encrypted. What has been answered before is not asked for again. Where an issuer fails
// the list is written all the same, the error wraps ErrPartial, and the summary is valid.
func (h *Home) Run(ctx context.Context, approved []byte, c Config) (Summary, error) {
	officers, err := h.officers()
	if err != nil {
		return Summary{}, err
	}
	o, err := order.Verify(approved, officers, h.now())
	if err != nil {
		return Summary{}, err
	}
	identity, err := h.identity(o.ID)
	if err != nil {
		return Summary{}, err
	}
	if identity.Recipient().String() != o.Recipient {
		return Summary{}, fmt.Errorf("%w: its recipient is not the key made for it here", order.ErrRefused)
	}
	visits, err := h.visits(ctx, approved, o, identity, c)
	if err != nil {
		return Summary{}, fmt.Errorf("visit server: %w", err)
	}
	c.Progress(fmt.Sprintf("visit server: %d scans (log entry %d)", len(visits.Scans), visits.Entry))
	issuerOrder, err := order.WithoutPlace(approved)
	if err != nil {
		return Summary{}, err
	}
	asked := split(visits.Scans)
	results := make(map[string]*result, len(asked))
	var wait sync.WaitGroup
	for name, codes := range asked {
		r := &result{codes: len(codes)}
		results[name] = r
		wait.Go(func() { h.askIssuer(ctx, name, issuerOrder, o.ID, codes, identity, c, r) })
	}
	wait.Wait()
	return h.finish(o, visits, results, identity, c)
}

// visits returns the visit server's answer, asked for once and kept as it came.
func (h *Home) visits(ctx context.Context, approved []byte, o order.Approved, identity age.Identity, c Config) (order.VisitAnswer, error) {
	path := filepath.Join(h.orderDir(o.ID), visitsFile)
	sealed, err := os.ReadFile(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		sealed, err = c.Visits.post(ctx, order.TypeOrder, approved, order.TypeVisitAnswer)
	}
	if err != nil {
		return order.VisitAnswer{}, err
	}
	a, err := order.OpenVisitAnswer(sealed, identity)
	if err != nil {
		return order.VisitAnswer{}, err
	}
	if a.Order != o.ID {
		return order.VisitAnswer{}, fmt.Errorf("it answers order %v, asked was %v", a.Order, o.ID)
	}
	for _, s := range a.Scans {
		if s.Facility != o.Facility || !o.Covers(s.At) {
			return order.VisitAnswer{}, errors.New("its answer holds a scan outside the order")
		}
	}
	if fresh {
		if err := (durable.Disk{}).Replace(path, sealed, 0o600); err != nil {
			return order.VisitAnswer{}, fmt.Errorf("keeping its answer: %w", err)
		}
	}
	return a, nil
}

// split groups the codes by issuer, each code once with its earliest scan.
func split(scans []order.Scan) map[string][]order.Code {
	sorted := slices.SortedStableFunc(slices.Values(scans), func(a, b order.Scan) int { return a.At.Compare(b.At) })
	seen := map[visit.CTI]bool{}
	asked := map[string][]order.Code{}
	for _, s := range sorted {
		if !seen[s.CTI] {
			seen[s.CTI] = true
			asked[s.Issuer] = append(asked[s.Issuer], order.Code{CTI: s.CTI, At: s.At})
		}
	}
	return asked
}

// result is what an issuer answered, over all questions put to it.
type result struct {
	codes    int
	holders  []order.Holder
	unopened []visit.CTI
	entries  []uint64
	err      error
}

func (h *Home) askIssuer(ctx context.Context, name string, approved []byte, id order.ID, codes []order.Code, identity age.Identity, c Config, r *result) {
	for n := 0; len(codes) > 0; n++ {
		part := codes[:min(len(codes), order.MaxCodes)]
		codes = codes[len(part):]
		a, err := h.answer(ctx, name, n, approved, id, part, identity, c)
		if err != nil {
			r.err = err
			c.Progress(fmt.Sprintf("issuer %s: failed after %d of %d codes: %v", name, len(r.holders)+len(r.unopened), r.codes, err))
			return
		}
		r.holders = append(r.holders, a.Holders...)
		r.unopened = append(r.unopened, a.Unopened...)
		r.entries = append(r.entries, a.Entry)
		c.Progress(fmt.Sprintf("issuer %s: %d of %d codes, %d opened (log entry %d)", name, len(r.holders)+len(r.unopened), r.codes, len(r.holders), a.Entry))
	}
}

// answer returns an issuer's answer to its n-th question, asked for once and kept as it came.
func (h *Home) answer(ctx context.Context, name string, n int, approved []byte, id order.ID, codes []order.Code, identity age.Identity, c Config) (order.IssuerAnswer, error) {
	path := filepath.Join(h.orderDir(id), fmt.Sprintf("issuer-%s-%d.age", name, n))
	sealed, err := os.ReadFile(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		sealed, err = ask(ctx, name, approved, codes, c)
	}
	if err != nil {
		return order.IssuerAnswer{}, err
	}
	a, err := order.OpenIssuerAnswer(sealed, identity)
	if err != nil {
		return order.IssuerAnswer{}, err
	}
	if err := complete(a, id, codes); err != nil {
		return order.IssuerAnswer{}, err
	}
	if fresh {
		if err := (durable.Disk{}).Replace(path, sealed, 0o600); err != nil {
			return order.IssuerAnswer{}, fmt.Errorf("keeping its answer: %w", err)
		}
	}
	return a, nil
}

func ask(ctx context.Context, name string, approved []byte, codes []order.Code, c Config) ([]byte, error) {
	e, err := c.Issuers(name)
	if err != nil {
		return nil, err
	}
	question, err := order.EncodeQuestion(order.Question{Order: approved, Codes: codes})
	if err != nil {
		return nil, err
	}
	return e.post(ctx, order.TypeQuestion, question, order.TypeIssuerAnswer)
}

// complete checks that an answer is about exactly the codes asked for; decoding saw to it that none stands twice.
func complete(a order.IssuerAnswer, id order.ID, codes []order.Code) error {
	if a.Order != id {
		return fmt.Errorf("it answers order %v, asked was %v", a.Order, id)
	}
	asked := make(map[visit.CTI]bool, len(codes))
	for _, c := range codes {
		asked[c.CTI] = true
	}
	if len(a.Holders)+len(a.Unopened) != len(asked) {
		return fmt.Errorf("it answers about %d codes, asked were %d", len(a.Holders)+len(a.Unopened), len(asked))
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

// finish logs the contact list and then writes it.
func (h *Home) finish(o order.Approved, visits order.VisitAnswer, results map[string]*result, identity *age.X25519Identity, c Config) (Summary, error) {
	list := join(o, visits, results)
	list.MadeAt = h.now().UTC()
	s := list.summary(results)
	entry := about(auditlog.KindContacts, o.Order, o.Approver, h.now())
	entry.Count, entry.Refused, entry.LogEntries = uint64(s.Contacts), uint64(s.Unopened), s.LogEntries
	if !s.Complete {
		entry.Note = "incomplete"
	}
	n, err := h.audit.Append(entry)
	if err != nil {
		return Summary{}, err
	}
	list.LogEntries = append(list.LogEntries, fmt.Sprintf("%s#%d", AuditOrigin, n))
	s.LogEntries = list.LogEntries
	plain, err := list.encode()
	if err != nil {
		return Summary{}, err
	}
	sealed, err := encrypt(identity.Recipient(), plain)
	if err != nil {
		return Summary{}, err
	}
	s.List = filepath.Join(h.orderDir(o.ID), contactsFile)
	if err := (durable.Disk{}).Replace(s.List, sealed, 0o600); err != nil {
		return Summary{}, fmt.Errorf("writing the contact list: %w", err)
	}
	if !s.Complete {
		failed := slices.Sorted(maps.Keys(list.Missing))
		return s, fmt.Errorf("%w: no answer for all codes of %v; run the order again for the rest", ErrPartial, failed)
	}
	return s, nil
}
