package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// Visits acknowledged before and after somebody took the file away are all there at the next start.
func TestAFileTakenAwayWhileInUseIsWrittenAnew(t *testing.T) {
	for rule, take := range map[string]func(t *testing.T, path string){
		"removed": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"renamed": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
		},
		"another put in its place": func(t *testing.T, path string) {
			other := filepath.Join(t.TempDir(), "other")
			if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(rule, func(t *testing.T) {
			s := newSurroundings(t)
			o := s.options()
			j, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			s.mustAppend(j, 3)
			id := j.Stats().Journal
			take(t, filepath.Join(o.Dir, fileName))
			s.mustAppend(j, 2)
			if st := j.Stats(); st.Damage == "" || st.Backlog != 5 || st.Journal != id {
				t.Errorf("%+v", st)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			l, err := Contents(o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Check(); err != nil || len(l.Pending.Records) != 5 || l.Journal != id {
				t.Errorf("%d records of journal %v, %v", len(l.Pending.Records), l.Journal, err)
			}
			if aside := j.asides(); (len(aside) == 1) != (rule == "another put in its place") {
				t.Errorf("set aside: %v", aside)
			} else if len(aside) == 1 {
				if b, err := os.ReadFile(aside[0]); err != nil || string(b) != "precious" {
					t.Errorf("set aside: %q, %v", b, err)
				}
			}
		})
	}
}
