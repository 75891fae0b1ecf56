package visitserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	// sealUseKept is how long it is remembered that a gate has gone over to a newer key: beyond a key's retention.
	sealUseKept = (day.RetentionDays + 3) * 24 * time.Hour
	// sealLook is how often, at most, all gates are looked through within a day for a key whose time seems over.
	sealLook = time.Hour
	maxNamed = 16 // gates that are named as holding a key
)

// SealUse tells since when a gate is known to seal to a key, or to a newer one.
type SealUse struct {
	Key   string    `json:"key"`
	Day   string    `json:"day"` // from which the key is in use
	Since time.Time `json:"since"`
}

// usesSeal returns a gate's history after it has said which key it seals to. A gate that has gone back to an older key –
// an old image of its disk was put back – is known to use that one again, and none of the newer.
func (s *Server) usesSeal(history []SealUse, id visit.SealKeyID) []SealUse {
	key, ok, _ := s.seals.find(id)
	if !ok {
		return history
	}
	now := s.guard.Look().Latest().UTC().Truncate(time.Second) // a clock that was set back ends no key early
	d := key.day.String()                                      // days compare as their text does
	history = slices.DeleteFunc(slices.Clone(history), func(u SealUse) bool { return u.Day > d })
	if n := len(history); n == 0 || history[n-1].Day < d {
		history = append(history, SealUse{Key: id.String(), Day: d, Since: now})
	}
	for len(history) > 1 && now.Sub(history[1].Since) > sealUseKept {
		history = history[1:]
	}
	return history
}

// lastUse is when a key could have been used last.
type lastUse struct {
	key    day.Day
	on     day.Day  // meaningful if nobody holds it
	held   int      // gates that may still seal to it
	naming []string // some of them
}

// noteGate takes into account one gate: its row, and its history of keys. superseded is when the key's successor was taken into use.
func (u *lastUse) noteGate(name string, t TerminalRow, history []SealUse, superseded time.Time) {
	if t.Enrolled == nil {
		return
	}
	// What it said itself counts for more than the days of keys: one may have been made by a clock that was set back.
	n := len(history)
	said := n > 0 && history[n-1].Day == u.key.String() && !history[n-1].Since.Before(*t.Enrolled)
	if !said && !t.Added.Before(superseded) {
		return // never had it
	}
	last := t.Revoked
	if last == nil && !said && t.Enrolled.After(superseded) {
		last = t.Enrolled // with a newer key; what had the older one is shut out since
	}
	for _, use := range history {
		if use.Day > u.key.String() {
			last = &use.Since
			break
		}
	}
	if last != nil {
		u.on = max(u.on, day.Of(*last))
		return
	}
	if u.held++; len(u.naming) < maxNamed {
		u.naming = append(u.naming, name)
	}
}

// superseded returns the keys that are no longer in use, each with the day of its last use. Keys that the register knows
// and the folder does not are among them: their destruction may have been cut short.
func (s *Server) superseded(ctx context.Context) ([]lastUse, error) {
	current, _ := s.seals.offered()
	days := s.seals.all()
	rows, err := s.store.List(ctx, tableSealKey, "")
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		var r SealKeyRow
		if d, err := day.Parse(row.Key); err == nil && json.Unmarshal(row.Value, &r) == nil && r.Destroyed == nil {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	days = slices.Compact(days)
	var uses []lastUse
	for i, d := range days {
		if d < current.day {
			uses = append(uses, lastUse{key: d, on: days[i+1]})
		}
	}
	if len(uses) == 0 {
		return nil, nil
	}
	return uses, s.noteGates(ctx, uses)
}

// noteGates looks through all gates, a facility at a time.
func (s *Server) noteGates(ctx context.Context, uses []lastUse) error {
	next := make([]time.Time, len(uses)) // when each was superseded
	for i := range uses {
		next[i] = uses[i].on.Start()
	}
	facilities, err := s.store.List(ctx, tableFacility, "")
	if err != nil {
		return err
	}
	for _, f := range facilities {
		terminals, err := s.store.List(ctx, tableTerminal, f.Key+"/")
		if err != nil {
			return err
		}
		histories, err := s.sealHistories(ctx, f.Key)
		if err != nil {
			return err
		}
		for _, t := range terminals {
			var row TerminalRow
			if err := json.Unmarshal(t.Value, &row); err != nil {
				s.log.Error("row of a terminal is damaged; it counts as one that holds every sealing key", "terminal", t.Key, "error", err)
				row = TerminalRow{Enrolled: &time.Time{}}
			}
			for i := range uses {
				uses[i].noteGate(t.Key, row, histories[t.Key], next[i])
			}
		}
	}
	return nil
}

// sealHistories returns what is known of the keys that a facility's gates seal to, by gate.
func (s *Server) sealHistories(ctx context.Context, facility string) (map[string][]SealUse, error) {
	beats, err := s.store.List(ctx, tableHeartbeat, facility+"/")
	if err != nil {
		return nil, err
	}
	histories := map[string][]SealUse{}
	for _, b := range beats {
		var row HeartbeatRow
		if json.Unmarshal(b.Value, &row) == nil { // a damaged one says nothing
			histories[b.Key] = row.SealKeys
		}
	}
	return histories, nil
}

// destroySealKeys destroys the keys whose last use is as long ago as a visit is kept, and returns their names. It looks
// through the gates at the start, then at each midnight in Seoul and at most every [sealLook], or at once if asked to.
func (s *Server) destroySealKeys(ctx context.Context, now bool) (done []string, err error) {
	s.destroy.Lock()
	defer s.destroy.Unlock()
	current, _ := s.seals.offered()
	done = []string{}
	oldest := slices.Min(append(s.seals.all(), current.day))
	at := s.now()
	again := day.Of(at) != day.Of(s.looked) || at.Sub(s.looked).Abs() >= sealLook
	if !now && !s.looked.IsZero() && !(again && oldest+day.RetentionDays < day.Of(at)) {
		return done, nil
	}
	s.looked = at
	horizon := s.guard.Look()
	uses, err := s.superseded(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, u := range uses {
		due, _ := horizon.Split([]day.Day{u.on})
		if u.held > 0 || len(due) == 0 {
			continue
		}
		id, err := s.destroySealKey(ctx, u.key)
		if err != nil {
			errs = append(errs, fmt.Errorf("destroying the sealing key of %v: %w", u.key, err))
			continue
		}
		done = append(done, id)
	}
	return done, errors.Join(errs...)
}

// destroySealKey destroys first and tells of it after: each step may be repeated after a crash.
func (s *Server) destroySealKey(ctx context.Context, d day.Day) (string, error) {
	var row SealKeyRow
	raw, err := load(ctx, s.store, tableSealKey, d.String(), &row)
	if err != nil {
		s.log.Error("row of a sealing key is damaged", "day", d.String(), "error", err)
		raw, row = nil, SealKeyRow{}
	}
	if key, err := s.seals.ring.Key(d); err == nil {
		row.Key = key.ID().String()
	}
	var ids []visit.SealKeyID
	if id, err := visit.ParseSealKeyID(row.Key); err == nil {
		ids = append(ids, id)
	}
	if err := s.seals.destroy(d, ids...); err != nil {
		return "", err
	}
	s.step("seal key destroyed")
	for _, id := range ids {
		s.epochs.forget(id)
	}
	digest := sha256.Sum256([]byte("kipass sealing key " + row.Key))
	entry, at, err := s.logOnce(auditlog.KindSealKey, d, 0, hex.EncodeToString(digest[:]), "private half of sealing key "+row.Key+" destroyed")
	if err != nil {
		return "", err
	}
	s.step("seal key logged")
	row.Destroyed, row.Entry = &at, entry
	var e edit
	e.put(tableSealKey, d.String(), raw, row)
	s.log.Info("sealing key destroyed", "day", d.String(), "key", row.Key, "entry", entry)
	return row.Key, e.apply(ctx, s.store)
}
