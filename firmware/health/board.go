package health

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is one condition that holds. Subject tells devices apart and is empty where there is only one.
type Fault struct {
	Code    Code
	Subject string
	Detail  string // the driver's or system's own words
	Since   time.Time
}

// Board holds the faults of one gate. It is safe for concurrent use.
type Board struct {
	now    func() time.Time
	log    *slog.Logger
	mu     sync.Mutex
	faults map[key]Fault
}

type key struct {
	code    Code
	subject string
}

// NewBoard returns an empty board. now is used for durations only and should carry a monotonic reading.
func NewBoard(now func() time.Time, log *slog.Logger) *Board {
	return &Board{now: now, log: log, faults: map[key]Fault{}}
}

// Set records that a fault holds; saying it again only renews the detail.
func (b *Board) Set(c Code, subject, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := key{c, subject}
	old, held := b.faults[k]
	f := Fault{Code: c, Subject: subject, Detail: detail, Since: b.now()}
	if held {
		f.Since = old.Since
	}
	b.faults[k] = f
	if !held || old.Detail != detail {
		b.log.Warn("fault", "code", string(c), "subject", subject, "detail", detail)
	}
}

// Clear records that a fault no longer holds.
func (b *Board) Clear(c Code, subject string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := key{c, subject}
	if old, held := b.faults[k]; held {
		delete(b.faults, k)
		b.log.Info("fault cleared", "code", string(c), "subject", subject, "duration", b.now().Sub(old.Since).Round(time.Millisecond))
	}
}

// Shown returns the faults that have outlasted their grace, worst first.
func (b *Board) Shown() []Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	var shown []Fault
	for _, f := range b.faults {
		if now.Sub(f.Since) >= kinds[f.Code].Grace {
			shown = append(shown, f)
		}
	}
	slices.SortFunc(shown, func(x, y Fault) int {
		if d := int(kinds[y.Code].Severity) - int(kinds[x.Code].Severity); d != 0 {
			return d
		}
		if d := strings.Compare(string(x.Code), string(y.Code)); d != 0 {
			return d
		}
		return strings.Compare(x.Subject, y.Subject)
	})
	return shown
}

// Codes returns the code of each fault shown, once, in their order.
func (b *Board) Codes() []Code {
	var codes []Code
	for _, f := range b.Shown() {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// set notes whether a fault that has no subject holds.
func (b *Board) set(c Code, holds bool, detail string) {
	if holds {
		b.Set(c, "", detail)
	} else {
		b.Clear(c, "")
	}
}
