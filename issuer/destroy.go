package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
)

// intent is written before the first step of a day's destruction and removed after the last, so that after a crash in
// between destruction is resumed and its record still tells the true count.
type intent struct {
	Codes    uint64 `json:"codes"`
	Accounts uint64 `json:"accounts"`
	Damaged  bool   `json:"damaged,omitempty"` // the issue log could not be counted; it is destroyed all the same
}

const intentEnding = ".destroying"

func (i *Issuer) intentPath(d day.Day) string {
	return filepath.Join(i.days.dir, d.String()+intentEnding)
}

// Destroy destroys every day whose time has come (day.Day.DestroyAt): its key, its issue log, the identities kept with
// it, and the accounts whose last code was of that day. Each day becomes an entry of the audit log, once. It may be
// called again after any error or crash and resumes where it stopped. Days that are due only by a clock in doubt are
// kept; the error then wraps guard.ErrHeldBack.
func (i *Issuer) Destroy() error {
	horizon, err := i.guard.Look()
	if err != nil {
		return err
	}
	days, err := i.remaining()
	if err != nil {
		return err
	}
	begun, err := i.begun()
	if err != nil {
		return err
	}
	due, back := horizon.Split(days)
	back = slices.DeleteFunc(back, func(d day.Day) bool { return slices.Contains(begun, d) })
	due = append(due, begun...)
	slices.Sort(due)
	due = slices.Compact(due)
	failed := []error{horizon.HeldBack(back)}
	for _, d := range due {
		if err := i.destroyDay(d, horizon.Now); err != nil {
			failed = append(failed, fmt.Errorf("destroying %v: %w", d, err))
		}
	}
	return errors.Join(failed...)
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
	begun, err := i.begun()
	if err != nil {
		return nil, err
	}
	all := slices.Concat(keys, files, begun)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// begun lists the days whose destruction has begun and not ended.
func (i *Issuer) begun() ([]day.Day, error) { return daykey.Days(i.days.dir, intentEnding) }

func (i *Issuer) destroyDay(d day.Day, now time.Time) error {
	plan, err := i.plan(d)
	if err != nil {
		return err
	}
	// The key goes first: from here on nothing of the day can be read, whatever else fails.
	if err := i.keys.Destroy(d); err != nil {
		return err
	}
	if err := i.days.destroy(d); err != nil {
		return err
	}
	if err := i.accounts.purge(d); err != nil {
		return err
	}
	logged, err := destroyedDays(i.audit)
	if err != nil {
		return err
	}
	if !slices.Contains(logged, d.String()) {
		note := fmt.Sprintf("key, issue log, identities and %d accounts of the day destroyed", plan.Accounts)
		if plan.Damaged {
			note += "; the issue log was damaged and could not be counted"
		}
		_, err := i.audit.Append(auditlog.Entry{
			Kind: auditlog.KindDestruction, At: now, Day: d.String(), Count: plan.Codes, Note: note,
		})
		if err != nil {
			return err
		}
	}
	if err := i.days.disk.Remove(i.intentPath(d)); err != nil {
		return fmt.Errorf("removing the intent: %w", err)
	}
	i.opts.Logger.Info("a day was destroyed", "day", d.String(), "codes", plan.Codes, "accounts", plan.Accounts)
	return nil
}

// plan returns what is to be destroyed, as first counted.
func (i *Issuer) plan(d day.Day) (intent, error) {
	var p intent
	raw, err := os.ReadFile(i.intentPath(d))
	if err == nil {
		if err := json.Unmarshal(raw, &p); err != nil {
			return intent{}, fmt.Errorf("reading %s: %w", i.intentPath(d), err)
		}
		return p, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return intent{}, fmt.Errorf("reading the intent: %w", err)
	}
	if p.Codes, err = i.days.count(d); err != nil {
		i.opts.Logger.Warn("issue log cannot be counted before it is destroyed", "day", d.String(), "error", err)
		p.Damaged = true
	}
	if p.Accounts, err = i.accounts.count(d); err != nil {
		return intent{}, err
	}
	if raw, err = json.Marshal(p); err != nil {
		return intent{}, err
	}
	if err := i.days.disk.Replace(i.intentPath(d), raw, 0o600); err != nil {
		return intent{}, fmt.Errorf("writing the intent: %w", err)
	}
	return p, nil
}

// destroyedDays are the days of whose destruction the audit log tells.
func destroyedDays(audit *auditlog.Log) ([]string, error) {
	entries, _, err := audit.Snapshot()
	if err != nil {
		return nil, err
	}
	var days []string
	for _, leaf := range auditlog.Leaves(entries) {
		e, err := auditlog.ParseEntry(leaf)
		if err != nil {
			return nil, err
		}
		if e.Kind == auditlog.KindDestruction {
			days = append(days, e.Day)
		}
	}
	return days, nil
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
)

// DestroyLoop destroys each day when its time comes, until ctx ends.
func (i *Issuer) DestroyLoop(ctx context.Context) {
	for {
		pause := destroyPause
		switch err := i.Destroy(); {
		case errors.Is(err, guard.ErrHeldBack):
			i.opts.Logger.Error("days are held back from destruction", "error", err)
		case err != nil:
			i.opts.Logger.Error("destruction is overdue and will be tried again", "error", err)
			pause = destroyRetry
		default:
			if due, err := i.remaining(); err == nil && len(due) > 0 {
				pause = min(pause, max(due[0].DestroyAt().Sub(i.opts.Now()), 0))
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
