package auditlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/testkit"
)

// appendSteps are the steps of one append: the entry, then the checkpoint that vouches for it.
var appendSteps = strings.Fields("append sync create write chmod sync rename sync-folder")

// TestFaultsOfAppend plays every step of an append as failed and as failed but persisted, on a disk that had one bad
// moment and on one that is lost with the process. After any of them the log holds every acknowledged entry, in order, at
// its number, and nothing that was never handed in; the entry that failed is there only if its checkpoint has been put in
// place.
func TestFaultsOfAppend(t *testing.T) {
	renamed := slices.Index(appendSteps, "rename")
	for at, step := range appendSteps {
		for _, persisted := range []bool{false, true} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d %s, persisted %v, restart %v", at, step, persisted, restart), func(t *testing.T) {
					testFault(t, fault{
						at: at, persisted: persisted, restart: restart,
						kept: at > renamed || at == renamed && persisted,
					})
				})
			}
		}
	}
}

type fault struct {
	at                 int // index into appendSteps
	persisted, restart bool
	kept               bool // the entry that failed is in the log afterwards
}

func testFault(t *testing.T, f fault) {
	dir := t.TempDir()
	older := written(t, dir, 2)
	crash := &testkit.Crash{At: f.at + 1, Persisted: f.persisted, Once: !f.restart}
	l := testkit.Must(open(dir, testKey(1), origin, crash.Disk()))(t)
	if _, err := l.Append(entry(2)); !errors.Is(err, testkit.ErrFault) {
		t.Fatalf("Append under fault = %v", err)
	}
	if got, want := strings.ReplaceAll(crash.Steps[f.at], " ", "-"), appendSteps[f.at]; got != want {
		t.Fatalf("step %d is %s, want %s", f.at, got, want)
	}
	want := []int{0, 1}
	if f.kept {
		want = append(want, 2)
	}
	checkAfterFault(t, dir, l, f.restart, want, older[2])
}

// checkAfterFault adds one more entry and holds the log against the entries it has to have.
func checkAfterFault(t *testing.T, dir string, l *Log, restart bool, want []int, older []byte) {
	t.Helper()
	if restart {
		testkit.Check(t, l.Close())
		l = testkit.Must(Open(dir, testKey(1), origin))(t)
	}
	if n, err := l.Append(entry(3)); err != nil || n != uint64(len(want)) {
		t.Fatalf("Append after the fault = %d, %v, want %d", n, err, len(want))
	}
	testkit.Check(t, l.Close())
	r := testkit.Must(Verify(dir, public(testKey(1)), origin, older))(t)
	var got []string
	for _, e := range r.Entries {
		got = append(got, e.Case)
	}
	var cases []string
	for _, i := range append(want, 3) {
		cases = append(cases, entry(i).Case)
	}
	if !slices.Equal(got, cases) {
		t.Errorf("log holds %v, want %v", got, cases)
	}
}

func TestEntryThatIsWrittenInPartIsCutOff(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := t.TempDir()
		older := written(t, dir, 2)
		leaf := testkit.Must(entry(2).leaf())(t)
		failed := false
		half := durable.Disk{Step: func(name string, do func() error) error {
			if name != "append" || failed {
				return do()
			}
			failed = true
			f := testkit.Must(openAppend(filepath.Join(dir, EntriesFile)))(t)
			testkit.Must(f.Write(leaf[:len(leaf)/2]))(t)
			return errors.Join(testkit.ErrFault, f.Close())
		}}
		l := testkit.Must(open(dir, testKey(1), origin, half))(t)
		if _, err := l.Append(entry(2)); !errors.Is(err, testkit.ErrFault) {
			t.Fatalf("Append under fault = %v", err)
		}
		checkAfterFault(t, dir, l, restart, []int{0, 1}, older[2])
		entries := testkit.Must(os.ReadFile(filepath.Join(dir, EntriesFile)))(t)
		if strings.Contains(string(entries), entry(2).Case) {
			t.Error("a part of the entry is left")
		}
	}
}
