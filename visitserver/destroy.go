package visitserver

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/visitserver/store"
)

const (
	tableTombstone = "tombstone"
	heldBackPeriod = time.Hour // between two log lines about days that are held back
)

// Tombstone tells that a day's visits and their key are gone.
type Tombstone struct {
	Day       string    `json:"day"`
	Visits    uint64    `json:"visits"`
	Digest    string    `json:"digest"` // store.Tally.Digest, hexadecimal
	Destroyed time.Time `json:"destroyed"`
	Entry     uint64    `json:"log"` // of the audit log
}

// HeldBack tells of days that are due by a clock which is in doubt, see [guard.Clock].
type HeldBack struct {
	Days  []string  `json:"days"`
	Clock time.Time `json:"clock"`
	Left  string    `json:"left"` // how long the server must run until the clock is believed
}

// DestroyDue destroys every day whose four weeks are over: the day is closed and summed up, its key destroyed, its rows
// removed, and a tombstone put into the audit log. Each step is durable before the next and harmless to repeat, and the
// same code that does a day finishes one that a crash left half done. It returns the days destroyed. Days that are due by
// a clock in doubt are kept; when there are any, the error, after all others are destroyed, wraps guard.ErrHeldBack.
func (s *Server) DestroyDue(ctx context.Context) ([]Tombstone, error) {
	s.destroy.Lock()
	defer s.destroy.Unlock()
	horizon, err := s.guard.Look()
	if err != nil {
		return nil, err
	}
	order, held, err := s.due(ctx, horizon)
	if err != nil {
		return nil, err
	}
	done := []Tombstone{}
	for _, d := range order {
		t, err := s.destroyDay(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("destroying %v: %w", d, err)
		}
		s.log.Info("day of visit destroyed", "day", t.Day, "count", t.Visits, "entry", t.Entry)
		done = append(done, t)
	}
	if err := horizon.HeldBack(held); err != nil {
		h := &HeldBack{Clock: horizon.Now, Left: horizon.Left.Round(time.Second).String()}
		for _, d := range held {
			h.Days = append(h.Days, d.String())
		}
		s.held.Store(h)
		return nil, err
	}
	s.held.Store(nil)
	return done, nil
}

// due returns the days to be destroyed, and those held back. A day whose destruction has begun is to be finished.
func (s *Server) due(ctx context.Context, horizon guard.Horizon) (due, held []day.Day, err error) {
	days, err := s.store.Days(ctx)
	if err != nil {
		return nil, nil, err
	}
	keyed, err := s.keys.Days()
	if err != nil {
		return nil, nil, err
	}
	retired, err := s.store.Retired(ctx)
	if err != nil {
		return nil, nil, err
	}
	due, held = horizon.Split(append(days, keyed...))
	for _, t := range retired {
		raw, err := optional(s.store.Get(ctx, tableTombstone, t.Day.String()))
		if err != nil {
			return nil, nil, err
		}
		if raw == nil {
			due = append(due, t.Day)
			held = slices.DeleteFunc(held, func(d day.Day) bool { return d == t.Day })
		}
	}
	slices.Sort(due)
	return slices.Compact(due), held, nil
}

// ConfirmClock believes the clock as it stands, on an operator's word, so that days held back are destroyed.
func (s *Server) ConfirmClock() error {
	s.log.Warn("an operator confirms the clock", "clock", s.now())
	return s.guard.Confirm()
}

func (s *Server) destroyDay(ctx context.Context, d day.Day) (Tombstone, error) {
	tally, err := s.store.Retire(ctx, d)
	if err != nil {
		return Tombstone{}, err
	}
	s.step("retired")
	if err := s.keys.Destroy(d); err != nil {
		return Tombstone{}, err
	}
	s.step("key destroyed")
	if err := s.store.Drop(ctx, d); err != nil {
		return Tombstone{}, err
	}
	s.step("rows dropped")
	var t Tombstone
	raw, err := load(ctx, s.store, tableTombstone, d.String(), &t)
	if err != nil || raw != nil {
		// A day closed before, found again because a key or folder of it had been left: its tombstone stands.
		return t, err
	}
	if t, err = s.logDestruction(tally); err != nil {
		return Tombstone{}, err
	}
	s.step("logged")
	var e edit
	e.put(tableTombstone, d.String(), nil, t)
	return t, e.apply(ctx, s.store)
}

// logDestruction puts the tombstone into the audit log.
func (s *Server) logDestruction(tally store.Tally) (t Tombstone, err error) {
	t = Tombstone{Day: tally.Day.String(), Visits: tally.Visits, Digest: hex.EncodeToString(tally.Digest[:])}
	t.Entry, t.Destroyed, err = s.logOnce(auditlog.KindDestruction, tally.Day, t.Visits, t.Digest, "visits and day key destroyed; digest is over the day's counts")
	return t, err
}

// logOnce tells the audit log of a destruction, once: an earlier run may have got just past it. Kind, day and digest say
// what was destroyed.
func (s *Server) logOnce(kind string, d day.Day, count uint64, digest, note string) (entry uint64, at time.Time, err error) {
	entries, _, err := s.audit.Snapshot()
	if err != nil {
		return 0, time.Time{}, err
	}
	for n, line := range bytes.Split(bytes.TrimSuffix(entries, []byte("\n")), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		e, err := auditlog.ParseEntry(line)
		if err != nil {
			return 0, time.Time{}, err
		}
		if e.Kind == kind && e.Day == d.String() && e.Digest == digest {
			return uint64(n), e.At, nil
		}
	}
	at = s.now().UTC().Truncate(time.Millisecond)
	entry, err = s.audit.Append(auditlog.Entry{
		Kind: kind, At: at, Day: d.String(), Count: count, Digest: digest, Note: note,
	})
	return entry, at, err
}

// Destroyer destroys days as they fall due, until ctx ends. wake delivers the moments at which to look; a nil wake looks
// once a minute and at each midnight in Seoul.
func (s *Server) Destroyer(ctx context.Context, wake <-chan time.Time) {
	var told time.Time // when it was last logged that days are held back
	for {
		s.tendSealKeys(ctx)
		switch _, err := s.DestroyDue(ctx); {
		case err == nil || ctx.Err() != nil:
		case !errors.Is(err, guard.ErrHeldBack):
			s.log.Error("destruction failed and will be tried again", "error", err)
		case s.now().Sub(told).Abs() >= heldBackPeriod:
			told = s.now()
			s.log.Error("days are held back from destruction", "error", err)
		}
		var timer *time.Timer
		tick := wake
		if tick == nil {
			now := s.now()
			midnight := (day.Of(now) + 1).Start().Sub(now)
			timer = time.NewTimer(min(time.Minute, midnight))
			tick = timer.C
		}
		select {
		case <-tick:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}
