package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

// Visits acknowledged before and after somebody took the file away are all there at the next start.
func TestAFileTakenAwayWhileInUseIsWrittenAnew(t *testing.T) {
	for rule, take := range map[string]func(t *testing.T, path string){
		"removed": func(t *testing.T, path string) {
			testkit.Check(t, os.Remove(path))
		},
		"renamed": func(t *testing.T, path string) {
			testkit.Check(t, os.Rename(path, path+".old"))
		},
		"another put in its place": func(t *testing.T, path string) {
			other := filepath.Join(t.TempDir(), "other")
			testkit.Check(t, os.WriteFile(other, []byte("precious"), 0o600))
			testkit.Check(t, os.Rename(other, path))
		},
	} {
		t.Run(rule, func(t *testing.T) {
			s := newFixture(t)
			opts := s.options()
			j, err := Open(opts)
			testkit.Check(t, err)
			s.mustAppend(j, 3)
			id := j.Stats().Journal
			take(t, filepath.Join(opts.Dir, fileName))
			s.mustAppend(j, 2)
			if st := j.Stats(); st.Damage == "" || st.Backlog != 5 || st.Journal != id {
				t.Errorf("%+v", st)
			}
			testkit.Check(t, j.Close())
			l, err := Contents(opts.Dir)
			testkit.Check(t, err)
			if err := l.Check(); err != nil || len(l.Pending.Records) != 5 || l.Journal != id {
				t.Errorf("%d records of journal %v, %v", len(l.Pending.Records), l.Journal, err)
			}
			if aside := j.setAsideFiles(); (len(aside) == 1) != (rule == "another put in its place") {
				t.Errorf("set aside: %v", aside)
			} else if len(aside) == 1 {
				if b, err := os.ReadFile(aside[0]); err != nil || string(b) != "precious" {
					t.Errorf("set aside: %q, %v", b, err)
				}
			}
		})
	}
}
