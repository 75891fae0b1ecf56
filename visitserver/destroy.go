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

const tableTombstone = "tombstone"

// Tombstone tells that a day's visits and their key are gone.
type Tombstone struct {
	Day       string    `json:"day"`
	Visits    uint64    `json:"visits"`
	Digest    string    `json:"digest"` // store.Tally.Digest, hexadecimal
	Destroyed time.Time `json:"destroyed"`
	Entry     uint64    `json:"log"` // of the audit log
}

// HeldBack tells of days that are due by one clock, while clocks differ, see [guard.Clock].
type HeldBack struct {
	Days  []string  `json:"days"`
	Clock time.Time `json:"clock"`
	Known time.Time `json:"known,omitzero"` // what is known of the time by other means
	Left  string    `json:"left,omitempty"` // how long the server must run until a clock that is ahead is believed
}

// DestroyDue destroys every day whose four weeks are over: the keys of all of them; then each day is closed and summed up,
// its rows removed, and a tombstone put into the audit log. The keys go first and need no write before them: from then on
// nothing of the days can be read, whatever else fails. Each step is durable before the next and harmless to repeat, and the
// same code that does a day finishes one that a crash left half done. Each day goes by itself: one that cannot be destroyed
// holds up no other. It returns the days destroyed. Days that are due by a clock in doubt are kept; the error then wraps
// guard.ErrHeldBack.
func (s *Server) DestroyDue(ctx context.Context) ([]Tombstone, error) {
	s.destroy.Lock()
	defer s.destroy.Unlock()
	horizon := s.guard.Look()
	order, held, err := s.due(ctx, horizon)
	failed := []error{err}
	keyless := map[day.Day]error{}
	for _, d := range order { // all keys first: a store may end the program on a disk that fails it
		if keyless[d] = s.keys.Destroy(d); keyless[d] == nil {
			s.step("key destroyed")
		}
	}
	done := []Tombstone{}
	for _, d := range order {
		t, err := s.destroyDay(ctx, d, keyless[d])
		if err != nil {
			failed = append(failed, fmt.Errorf("destroying %v: %w", d, err))
			continue
		}
		s.log.Info("day of visit destroyed", "day", t.Day, "count", t.Visits, "entry", t.Entry)
		done = append(done, t)
	}
	s.held.Store(heldBack(horizon, held))
	if err := errors.Join(append(failed, horizon.HeldBack(held))...); err != nil {
		return nil, err
	}
	return done, nil
}

func heldBack(horizon guard.Horizon, held []day.Day) *HeldBack {
	if len(held) == 0 {
		return nil
	}
	h := &HeldBack{Clock: horizon.Now, Known: horizon.Known}
	if horizon.Left > 0 {
		h.Left = horizon.Left.Round(time.Second).String()
	}
	for _, d := range held {
		h.Days = append(h.Days, d.String())
	}
	return h
}

// due returns the days to be destroyed, and those held back, as far as they can be found out. A day whose destruction has
// begun is to be finished.
func (s *Server) due(ctx context.Context, horizon guard.Horizon) (due, held []day.Day, err error) {
	kept, err := s.kept(ctx)
	due, held = horizon.Split(kept.all())
	for _, d := range held {
		if kept.keys != nil && !slices.Contains(kept.keys, d) { // its rows cannot be read any more
			due = append(due, d)
		}
	}
	due = append(due, kept.closed...)
	held = slices.DeleteFunc(held, func(d day.Day) bool { return slices.Contains(due, d) })
	slices.Sort(due)
	return slices.Compact(due), held, err
}

// kept is of which days anything is kept.
type kept struct {
	rows, keys []day.Day
	closed     []day.Day // summed up, and without a tombstone yet
}

func (k kept) all() []day.Day { return slices.Concat(k.rows, k.keys, k.closed) }

// kept finds out what it can, even if there is an error: a fault in one place keeps nothing from being destroyed in
// another.
func (s *Server) kept(ctx context.Context) (k kept, err error) {
	var errs [3]error
	k.rows, errs[0] = s.store.Days(ctx)
	k.keys, errs[1] = s.keys.Days()
	k.closed, errs[2] = s.closed(ctx)
	return k, errors.Join(errs[:]...)
}

// closed lists the days that are summed up and have no tombstone yet.
func (s *Server) closed(ctx context.Context) ([]day.Day, error) {
	retired, err := s.store.Retired(ctx)
	if err != nil {
		return nil, err
	}
	var days []day.Day
	for _, t := range retired {
		raw, err := optional(s.store.Get(ctx, tableTombstone, t.Day.String()))
		if err != nil {
			return nil, err
		}
		if raw == nil {
			days = append(days, t.Day)
		}
	}
	return days, nil
}

// ConfirmClock believes the clock as it stands, on an operator's word, so that days held back are destroyed.
func (s *Server) ConfirmClock() error {
	s.log.Warn("an operator confirms the clock", "clock", s.now())
	return s.guard.Confirm()
}

// destroyDay destroys what there is of a day besides its key. keyless is why the key is not gone, nil if it is: a day with a
// key gets no tombstone.
func (s *Server) destroyDay(ctx context.Context, d day.Day, keyless error) (Tombstone, error) {
	tally, err := s.store.Retire(ctx, d)
	if err == nil {
		s.step("retired")
		err = s.store.Drop(ctx, d)
	}
	if err := errors.Join(keyless, err); err != nil {
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
	note := "visits and day key destroyed; digest is over the day's counts"
	if tally.Uncounted {
		note += ", as far as they could be read: the day's database was damaged"
	}
	t.Entry, t.Destroyed, err = s.logOnce(auditlog.KindDestruction, tally.Day, t.Visits, t.Digest, note)
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
// once a minute and at each midnight in Seoul. What is overdue afterwards is an alarm.
func (s *Server) Destroyer(ctx context.Context, wake <-chan time.Time) {
	for {
		_, err := s.DestroyDue(ctx) // first, since it erases keys before it writes
		if ctx.Err() == nil {
			s.alarmOverdue(ctx, err)
		}
		s.tendSealKeys(ctx)
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

// alarmOverdue logs, each kind of trouble once an hour, why days could not be destroyed and what is overdue.
func (s *Server) alarmOverdue(ctx context.Context, err error) {
	if err != nil {
		kind, text := "failed", "destruction failed and will be tried again"
		if errors.Is(err, guard.ErrHeldBack) {
			kind, text = "held", "days are held back from destruction"
		}
		if ok, _ := s.overdue.Allow(kind); ok {
			s.log.Error(text, "error", err)
		}
	}
	o, err := s.Oldest(ctx)
	if err != nil || o == nil || o.Overdue == 0 {
		return
	}
	if ok, _ := s.overdue.Allow("overdue"); ok {
		s.log.Error("a day is kept past its end", "day", o.Day.String(), "duration", o.Overdue.Round(time.Second))
	}
}

// Oldest returns the oldest day of which anything is kept, nil if there is none.
func (s *Server) Oldest(ctx context.Context) (*guard.Kept, error) {
	kept, err := s.kept(ctx)
	if err != nil {
		return nil, err
	}
	o, ok := s.guard.Look().Oldest(kept.all())
	if !ok {
		return nil, nil
	}
	return &o, nil
}
