package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// Endings of files set aside.
const (
	damagedSuffix   = ".damaged"
	elsewhereSuffix = ".elsewhere"
	untilInfix      = "-until-" // before the day on which it is removed
	asideFormat     = "journal-20060102T150405Z"
)

// setAside renames the journal file so that nothing uses it. It goes at the end of its retention, see endAside.
func (j *Journal) setAside(suffix string, cause error) error {
	stem := j.opts.Now().UTC().Format(asideFormat)
	name := stem + suffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(j.path(name)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, suffix)
	}
	if err := j.opts.System.Disk.Rename(j.filePath, j.path(name)); err != nil {
		return fmt.Errorf("setting the journal aside: %w", err)
	}
	j.lookAside()
	j.report(fmt.Sprintf("set aside as %s: %v", name, cause))
	return nil
}

// findAside returns the paths of files set aside, oldest first.
func (j *Journal) findAside() []string {
	entries, err := os.ReadDir(j.opts.Dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, "journal-") && (strings.HasSuffix(n, damagedSuffix) || strings.HasSuffix(n, elsewhereSuffix)) {
			paths = append(paths, j.path(n))
		}
	}
	return paths
}

// lookAside finds out anew which files are set aside.
func (j *Journal) lookAside() {
	paths := j.findAside()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.aside = paths
}

// setAsideFiles returns the paths of files set aside that are still there, oldest first.
func (j *Journal) setAsideFiles() []string {
	j.mu.Lock()
	paths := slices.Clone(j.aside)
	j.mu.Unlock()
	return slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return errors.Is(err, fs.ErrNotExist) // a technician has taken it
	})
}

// endAside ends the retention of files set aside at now, which must be trusted. Nobody knows of which days their records
// are, nor whether the clock was right when they were set aside: 28 days count from the first call that finds a file. The
// day on which it goes then stands in its name, journal-<UTC time>-until-<day>.damaged.
func (j *Journal) endAside(now time.Time) error {
	today := day.Of(now)
	var errs []error
	for _, path := range j.findAside() {
		stem, suffix := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
		stem, text, _ := strings.Cut(stem, untilInfix)
		until, err := day.Parse(text)
		switch {
		case err != nil || until > today+day.RetentionDays+1: // none, or of a clock that was ahead
			until = today + day.RetentionDays + 1
			errs = append(errs, j.opts.System.Disk.Rename(path, stem+untilInfix+until.String()+suffix))
		case until <= today:
			j.log.Info("file set aside has ended", "path", path, "day", until.String())
			errs = append(errs, j.opts.System.Disk.Remove(path))
		}
	}
	j.lookAside()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ending files set aside: %w", err)
	}
	return nil
}

func (j *Journal) report(what string) {
	j.log.Warn("journal", "damage", what)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.damage != "" {
		what = j.damage + "; " + what
	}
	j.damage = what
}

// readMark returns the identity of the journal last used here, empty if none is known.
func (j *Journal) readMark() string {
	b, err := os.ReadFile(j.path(markName))
	if err != nil {
		return ""
	}
	id, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil || len(id) != len(visit.JournalID{}) {
		return ""
	}
	return hex.EncodeToString(id)
}

// keepMark writes the mark. Without it only a vanished journal goes unnoticed, so the journal works on.
func (j *Journal) keepMark(id visit.JournalID) {
	if err := j.opts.System.Disk.Replace(j.path(markName), fmt.Appendln(nil, id), 0o600); err != nil {
		j.log.Warn("journal goes on without its mark", "error", err)
	}
}
