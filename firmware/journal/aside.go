package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/kipass/kipass/protocol/visit"
)

// Endings of files set aside.
const (
	damagedSuffix   = ".damaged"
	elsewhereSuffix = ".elsewhere"
)

// setAside renames the journal file so that nothing uses it and nothing deletes it.
func (j *Journal) setAside(suffix string, cause error) error {
	stem := "journal-" + j.opts.Now().UTC().Format("20060102T150405Z")
	name := stem + suffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(j.path(name)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, suffix)
	}
	if err := j.opts.System.Disk.Rename(j.path(fileName), j.path(name)); err != nil {
		return fmt.Errorf("setting the journal aside: %w", err)
	}
	j.report(fmt.Sprintf("set aside as %s: %v", name, cause))
	return nil
}

// setAsideFiles returns the paths of files set aside, oldest first.
func (j *Journal) setAsideFiles() []string {
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
