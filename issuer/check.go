package issuer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
)

// checkEvery is the time between two looks at all that is kept: nobody reads most of it before an order asks for it, and
// until then a backup can put it right.
const checkEvery = 6 * time.Hour

// What may be damaged of a day, as the audit log notes it.
const (
	damagedKey    = "the key does not open"
	missingKey    = "the key is missing"
	damagedLog    = "the issue log was damaged and set aside"
	damagedInPart = "the issue log is damaged in part"
)

// damaged tells what is damaged of each day, as far as it is known.
func (i *Issuer) damaged() (map[day.Day][]string, error) {
	all := map[day.Day][]string{}
	unreadable, err1 := i.keys.Unreadable()
	for _, d := range unreadable {
		all[d] = append(all[d], damagedKey)
	}
	files, err2 := i.days.days()
	keyed, err3 := i.keys.Days()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	latest := i.guard.Look().Latest()
	for _, d := range files {
		if !slices.Contains(keyed, d) && latest.Before(d.DestroyAt()) {
			all[d] = append(all[d], missingKey)
		}
		what, err := i.days.damaged(d)
		if err != nil {
			return nil, err
		}
		if len(what) > 0 {
			all[d] = append(all[d], what...)
		}
	}
	return all, nil
}

// CheckDays reads all that is kept of the days that are over, and tells the log and the audit log of what is damaged. One
// day that cannot be read keeps no other from being looked at.
func (i *Issuer) CheckDays() error {
	days, err := i.days.days()
	unreadable, err2 := i.keys.Unreadable()
	failed := []error{err, err2}
	today := day.Of(i.opts.Now())
	for _, d := range days {
		if d >= today { // is being written to
			continue
		}
		var keys []*dayKeys // none where one is damaged: what was sealed under that opens under no other
		if !slices.Contains(unreadable, d) {
			if keys, err = i.keys.Keys(d); err != nil && !errors.Is(err, daykey.ErrNoKey) {
				failed = append(failed, err)
			}
		}
		if err := i.days.check(d, keys); err != nil && !errors.Is(err, daykey.ErrNoKey) { // damaged, or destroyed meanwhile
			failed = append(failed, err)
		}
	}
	return errors.Join(append(failed, i.tellDamage())...)
}

// tellDamage puts what is damaged into the audit log, once for each day and what is damaged of it.
func (i *Issuer) tellDamage() error {
	damaged, err := i.damaged()
	if err != nil || len(damaged) == 0 {
		return err
	}
	logged, err := entriesOf(i.audit, auditlog.KindDamage)
	if err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(damaged)) {
		for _, what := range damaged[d] {
			told := func(e auditlog.Entry) bool { return e.Day == d.String() && e.Note == what }
			if slices.ContainsFunc(logged, told) {
				continue
			}
			i.opts.Logger.Error("a day is damaged: not all codes of it can be opened", "day", d.String(), "error", what)
			entry := auditlog.Entry{Kind: auditlog.KindDamage, At: i.opts.Now(), Day: d.String(), Note: what}
			if _, err := i.audit.Append(entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLoop looks at all that is kept, at once and then in turns, until ctx ends.
func (i *Issuer) checkLoop(ctx context.Context) {
	for {
		if err := i.CheckDays(); err != nil {
			i.opts.Logger.Error("days cannot be checked for damage", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkEvery):
		}
	}
}
