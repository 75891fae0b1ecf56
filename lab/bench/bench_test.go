package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kipass/kipass/lab/internal/process"
)

// Families that need no program of the project are run for real; what their figures say is not this test's concern.
func TestRunMeasures(t *testing.T) {
	for family, names := range map[string][]string{
		"seal": {"seal_record", "seal_overhead"},
		"code": {"verify_and_decide"},
	} {
		dir := t.TempDir()
		figures, err := Run(t.Context(), Options{Bin: t.TempDir(), Dir: dir, Only: family})
		if err != nil {
			t.Errorf("%s: %v", family, err)
			continue
		}
		var got []string
		for _, f := range figures {
			got = append(got, f.Name)
			if f.Ours <= 0 || f.Bare != nil && *f.Bare <= 0 {
				t.Errorf("%s: ours %v", f.Name, f.Ours)
			}
		}
		if strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("%s gives %v, want %v", family, got, names)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v behind (%v)", family, left, err)
		}
	}
}

func TestRunTellsWhatItCouldNotMeasure(t *testing.T) {
	for rule, c := range map[string]struct{ only, want string }{
		"a program is missing":     {"single", "single could not be measured"},
		"no family is of the name": {"no such", `no family of figures is called "no such"`},
	} {
		figures, err := Run(t.Context(), Options{Bin: t.TempDir(), Dir: t.TempDir(), Only: c.only})
		if len(figures) > 0 || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d figures, error %v; want none and %q", rule, len(figures), err, c.want)
		}
	}
}

func TestScansLogged(t *testing.T) {
	for rule, c := range map[string]struct {
		log  string
		want int
		ok   bool
	}{
		"scans are found among other lines": {"time=x level=INFO msg=starting\ntime=x level=INFO msg=scan outcome=admitted reader=front duration=2.34ms\n" +
			"ready http://127.0.0.1:1\ntime=x level=INFO msg=scan outcome=admitted reader=front duration=910µs\n", 2, true},
		"an outcome that is not green is an error": {"time=x level=INFO msg=scan outcome=expired reader=front duration=2.34ms\n", 0, false},
		"a duration that is none is an error":      {"time=x level=INFO msg=scan outcome=admitted reader=front duration=soon\n", 0, false},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		took, err := scansLogged(path)
		if len(took) != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %v, %v", rule, took, err)
		}
		if c.want == 2 && (took[0] != 2340*time.Microsecond || took[1] != 910*time.Microsecond) {
			t.Errorf("%s: %v", rule, took)
		}
	}
}

// The journal's file says how large the bare loops' writes must be.
func TestNewDiskWritesWhatTheJournalWrites(t *testing.T) {
	s := &site{dir: t.TempDir(), programs: process.Programs{}}
	d, err := newDisk(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	for range 3 {
		if err := d.append(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.bolt.update(d.record); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := d.journal.Peek(10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(ours.Records) != 4 || len(ours.Records[3].Data) != len(d.record) || len(d.bolt.state) < 64 {
		t.Errorf("the journal's record is %d bytes, the bare one %d, its state %d", len(ours.Records[3].Data), len(d.record), len(d.bolt.state))
	}
}

func TestBareServerKeepsWhatItAnswers(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := newLine(), make(chan error, 1)
	go func() { done <- ServeBare(ctx, dir, ready) }()
	var line string
	select {
	case line = <-ready.said:
	case err := <-done:
		t.Fatalf("ended before it was ready: %v", err)
	}
	c := &central{dir: dir, url: strings.TrimSpace(strings.TrimPrefix(line, "ready "))}
	send, err := c.connect(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := [][]byte{[]byte("first"), []byte("second"), {}}
	for path, body := range map[string][]byte{bareOne: []byte("first"), bareMany: joinRows(nil, rows...)} {
		if answer, err := send(t.Context(), path, "text/plain", body); err != nil || len(answer) != bareBytes {
			t.Fatalf("%s: answer of %d bytes, %v", path, len(answer), err)
		}
	}
	if _, err := send(t.Context(), "/", "text/plain", nil); err == nil {
		t.Error("a path that there is not was answered")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	kept, err := openBarePebble(filepath.Join(dir, "pebble"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	it, err := kept.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'v'}, UpperBound: []byte{'w'}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != bareRow {
			t.Errorf("a row of %d bytes", len(it.Value()))
		}
		seen[strings.TrimRight(string(it.Value()), "\x00")]++
	}
	if err := it.Close(); err != nil || seen["first"] != 2 || seen["second"] != 1 || seen[""] != 1 {
		t.Errorf("kept %v, %v", seen, err)
	}
}

// line hands on what is written to it.
type line struct{ said chan string }

func newLine() line { return line{make(chan string, 1)} }

func (l line) Write(b []byte) (int, error) {
	l.said <- string(b)
	return len(b), nil
}
