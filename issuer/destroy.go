package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
)

// Destroy destroys every day whose time has come (day.Day.DestroyAt): its key, its issue log, the identities kept with
// it, and the accounts whose last code was of that day. The keys of all of them go first and need no write before them:
// from then on nothing of the days can be read, whatever else fails. Each day goes by itself: one that cannot be destroyed holds up no
// other. Each becomes an entry of the audit log, once. It may be called again after any error or crash and resumes where it
// stopped. Days that are due only by a clock in doubt are kept; the error then wraps guard.ErrHeldBack.
func (i *Issuer) Destroy() error {
	horizon := i.guard.Look()
	keys, err1 := i.keys.Days()
	files, err2 := i.days.days()
	due, held := horizon.Split(slices.Concat(keys, files))
	failed := []error{err1, err2}
	for _, d := range held {
		if err1 == nil && !slices.Contains(keys, d) { // its destruction has begun: nothing of it can be read any more
			due = append(due, d)
		}
	}
	held = slices.DeleteFunc(held, func(d day.Day) bool { return slices.Contains(due, d) })
	keyless := map[day.Day]error{}
	for _, d := range due {
		keyless[d] = i.keys.Destroy(d)
	}
	for _, d := range due {
		if err := i.destroyDay(d, horizon.Now, keyless[d]); err != nil {
			failed = append(failed, fmt.Errorf("destroying %v: %w", d, err))
		}
	}
	return errors.Join(append(failed, horizon.HeldBack(held))...)
}

// remaining lists the days of which anything is left, oldest first.
func (i *Issuer) remaining() ([]day.Day, error) {
	keys, err := i.keys.Days()
	if err != nil {
		return nil, err
	}
	files, err := i.days.days()
	if err != nil {
		return nil, err
	}
	all := slices.Concat(keys, files)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// destroyDay destroys what there is of a day besides its key: first comes the entry, for which the issue log is counted, and
// the issue log goes last, since it shows that the rest is not done. keyless is why the key is not gone, nil if it is: a day
// with a key gets no entry.
func (i *Issuer) destroyDay(d day.Day, now time.Time, keyless error) error {
	if keyless == nil {
		keyless = i.logDestruction(d, now)
	}
	err := i.accounts.purge(d)
	if keyless != nil || err != nil { // without an entry the issue log is still needed
		return errors.Join(keyless, err)
	}
	if err := i.days.destroy(d); err != nil {
		return err
	}
	i.opts.Logger.Info("a day was destroyed", "day", d.String())
	return nil
}

// logDestruction puts the end of a day, whose key is destroyed, into the audit log, once.
func (i *Issuer) logDestruction(d day.Day, now time.Time) error {
	logged, err := destroyedDays(i.audit)
	if err != nil || slices.Contains(logged, d.String()) {
		return err
	}
	accounts, err := i.accounts.count(d)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("key, issue log, identities and %d accounts of the day destroyed", accounts)
	codes, err := i.days.count(d)
	if err != nil {
		i.opts.Logger.Warn("issue log cannot be counted before it is destroyed", "day", d.String(), "error", err)
		note += "; the issue log was damaged and could not be counted"
	}
	_, err = i.audit.Append(auditlog.Entry{
		Kind: auditlog.KindDestruction, At: now, Day: d.String(), Count: codes, Note: note,
	})
	return err
}

// destroyedDays are the days of whose destruction the audit log tells.
func destroyedDays(audit *auditlog.Log) ([]string, error) {
	entries, err := entriesOf(audit, auditlog.KindDestruction)
	var days []string
	for _, e := range entries {
		days = append(days, e.Day)
	}
	return days, err
}

// entriesOf are the audit log's entries of a kind.
func entriesOf(audit *auditlog.Log, kind string) (found []auditlog.Entry, err error) {
	entries, _, err := audit.Snapshot()
	if err != nil {
		return nil, err
	}
	for _, leaf := range auditlog.Leaves(entries) {
		e, err := auditlog.ParseEntry(leaf)
		if err != nil {
			return nil, err
		}
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found, nil
}

// ConfirmClock believes the clock as it stands, on an operator's word, so that days held back are destroyed.
func (i *Issuer) ConfirmClock() error {
	i.opts.Logger.Warn("an operator confirms the clock", "clock", i.opts.Now())
	return i.guard.Confirm()
}

const (
	// destroyPause bounds how long the loop sleeps: the wall clock may be set, and a machine may be suspended.
	destroyPause = 10 * time.Minute
	destroyRetry = time.Minute
	alarmEvery   = time.Hour // between two log lines of a kind about days that are not destroyed
)

// DestroyLoop destroys each day when its time comes, until ctx ends. What is overdue afterwards is an alarm.
func (i *Issuer) DestroyLoop(ctx context.Context) {
	i.tellStrays()
	for {
		pause := destroyPause
		err := i.Destroy()
		if err != nil && !errors.Is(err, guard.ErrHeldBack) {
			pause = destroyRetry
		}
		for _, d := range i.alarm(err) {
			if wait := d.DestroyAt().Sub(i.opts.Now()); wait > 0 {
				pause = min(pause, wait)
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// alarm logs, each kind of trouble once an hour, why days could not be destroyed and what is overdue. It returns the days of
// which anything is kept.
func (i *Issuer) alarm(err error) []day.Day {
	if err != nil {
		kind, text := "failed", "destruction failed and will be tried again"
		if errors.Is(err, guard.ErrHeldBack) {
			kind, text = "held", "days are held back from destruction"
		}
		if ok, _ := i.alarms.Allow(kind); ok {
			i.opts.Logger.Error(text, "error", err)
		}
	}
	days, err := i.remaining()
	if err != nil {
		return nil // told by Destroy
	}
	if oldest, ok := i.guard.Look().Oldest(days); ok && oldest.Overdue > 0 {
		if ok, _ := i.alarms.Allow("overdue"); ok {
			i.opts.Logger.Error("a day is kept past its end", "day", oldest.Day.String(), "duration", oldest.Overdue.Round(time.Second))
		}
	}
	return days
}

// tellStrays logs what lies among the days and is none: it is never destroyed.
func (i *Issuer) tellStrays() {
	files, err1 := i.days.strays()
	keys, err2 := i.keys.Strays()
	if err := errors.Join(err1, err2); err != nil {
		i.opts.Logger.Error("folders of days cannot be listed", "error", err)
	}
	for _, path := range append(files, keys...) {
		i.opts.Logger.Warn("what lies among the days is none of ours and will never be destroyed; look after it", "path", path)
	}
}
