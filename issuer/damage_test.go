package issuer

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// A damaged day is no reason to give nobody a code: what cannot be read is set aside, and comes back when it is put right.
func TestADamagedDayStopsNoCode(t *testing.T) {
	today := day.Of(noon).String()
	for rule, c := range map[string]struct {
		file    string
		account bool // the account is readable all the same
	}{
		"its key":       {filepath.Join("keys", today+".key"), false},
		"its issue log": {filepath.Join("days", today+".db"), true},
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixture(t)
			old := f.register(t, testName)
			before := f.code(t, old)
			f.close(t)
			path := filepath.Join(f.dir, c.file)
			good := testkit.Must(os.ReadFile(path))(t)
			testkit.Check(t, os.WriteFile(path, make([]byte, len(good)), 0o600))
			f.reopen(t, durable.Disk{})
			bearer := old
			if _, err := f.Issue(old); (err == nil) != c.account {
				t.Errorf("the account of before: %v", err)
			}
			if !c.account {
				bearer = f.register(t, testName)
			}
			after := f.code(t, bearer)
			if a := f.opened(t, visit.CTI(before.CTI()), visit.CTI(after.CTI())); len(a.Holders) != 1 || len(a.Unopened) != 1 {
				t.Errorf("%d codes are opened, %d not; want one each", len(a.Holders), len(a.Unopened))
			}
			if c.account {
				return
			}
			testkit.Check(t, os.WriteFile(path+".damaged-1", good, 0o600))
			f.reopen(t, durable.Disk{})
			if a := f.opened(t, visit.CTI(before.CTI()), visit.CTI(after.CTI())); len(a.Holders) != 2 {
				t.Errorf("%d codes are opened after the key was put right, want both", len(a.Holders))
			}
			f.code(t, old)
			f.clock.Add(30 * 24 * time.Hour)
			testkit.Check(t, f.ConfirmClock())
			testkit.Check(t, f.Destroy())
			for _, dir := range []string{"keys", "days"} {
				if left := testkit.Must(filepath.Glob(filepath.Join(f.dir, dir, today+"*")))(t); len(left) != 0 {
					t.Errorf("left of the day: %q", left)
				}
			}
		})
	}
}
