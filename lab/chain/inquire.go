package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// windowMargin is by how much an order's window goes beyond what the lab itself saw, by its own clock: a moment.
const windowMargin = 5 * time.Second

// inquire does what the health authority does for one case: an officer orders, another approves, the visit server and
// the issuers are asked over HTTP, and the contact list is opened.
func (s *stage) inquire(ctx context.Context, from time.Time) ([]contact, error) {
	dir, signed, approved := s.path("authority"), s.path("order.signed"), s.path("order.approved")
	id, err := s.programs.Run(ctx, "kipass-inquiry", "order", "--data", dir, "--officer-key", s.path(officers[0]+".key"), "--officer", officers[0],
		"--case", "2020-0001", "--purpose", "contact tracing", "--facility", facility,
		"--from", from.Format(time.RFC3339), "--to", time.Now().Add(windowMargin).Format(time.RFC3339), "--output", signed)
	if err != nil {
		return nil, err
	}
	if _, err := s.programs.Run(ctx, "kipass-inquiry", "approve", "--data", dir,
		"--officer-key", s.path(officers[1]+".key"), "--yes", "--output", approved, signed); err != nil {
		return nil, err
	}
	ask := []string{"run", "--data", dir, "--visits", s.visitsURL(), "--visits-ca", s.path("visits", "server-ca.pem"),
		"--trust-list", s.path("trust.list"), "--trust-root", s.root}
	for _, i := range issuerNames {
		ask = append(ask, "--issuer-ca", i.name+"="+s.path("issuer-"+i.name, "ca.pem"))
	}
	raw, err := s.programs.RunTaking(ctx, statusPartial, "kipass-inquiry", append(ask, "--json", approved)...)
	if err != nil {
		return nil, err
	}
	if err := onlyRecent(raw); err != nil {
		return nil, err
	}
	raw, err = s.programs.RunTaking(ctx, statusPartial, "kipass-inquiry", "open", "--data", dir, "--format", "json", strings.TrimSpace(id))
	if err != nil {
		return nil, err
	}
	var list struct {
		Contacts []contact `json:"contacts"`
	}
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return nil, fmt.Errorf("reading the contact list: %w", err)
	}
	return list.Contacts, nil
}

// statusPartial is the exit status of kipass-inquiry for a list that is known to be incomplete.
const statusPartial = 3

// onlyRecent returns an error if a list is incomplete for another reason than the window's end, which is now: gates say only
// every few minutes that all is delivered, and this run knows it already.
func onlyRecent(summary string) error {
	var of struct {
		Issuers map[string]struct {
			Missing int `json:"missing"`
		} `json:"issuers"`
		Shortfalls []struct {
			Gate, Reason string
			Missing      uint64
		} `json:"shortfalls"`
	}
	if err := json.Unmarshal([]byte(summary), &of); err != nil {
		return fmt.Errorf("reading the summary of the inquiry: %w", err)
	}
	for name, i := range of.Issuers {
		if i.Missing > 0 {
			return fmt.Errorf("issuer %s was not asked for %d codes", name, i.Missing)
		}
	}
	for _, f := range of.Shortfalls {
		if f.Reason != "silent" && f.Reason != "undelivered" || f.Missing > 0 {
			return fmt.Errorf("gate %s: %d visits are missing in the list: %s", f.Gate, f.Missing, f.Reason)
		}
	}
	return nil
}
