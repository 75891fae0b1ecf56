package embedded

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

// What is put into a day with a damaged table is stored, and what cannot be recognised any more counts as new; the other days
// are counted. A table whose blocks are damaged still opens; one that was cut short does not.
func TestADamagedTableHoldsNoVisitUp(t *testing.T) {
	for rule, damage := range map[string]func([]byte) []byte{
		"bits turned": func(b []byte) []byte {
			for i := range len(b) * 9 / 10 {
				b[i] ^= 0x5a
			}
			return b
		},
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(rule, func(t *testing.T) { damagedTable(t, damage) })
	}
}

func damagedTable(t *testing.T, damage func([]byte) []byte) {
	dir, log := t.TempDir(), &testkit.Buffer{}
	s := openIn(t, dir)
	var rows []store.Row
	for n := range uint64(2000) {
		rows = append(rows, storetest.NewRow(visit.Gate("door"), benchDay.Start(), n))
	}
	if n, err := s.Put(t.Context(), "cafe", benchDay, rows, nil); n != len(rows) || err != nil {
		t.Fatalf("put %d, %v", n, err)
	}
	testkit.Check(t, s.days[benchDay].db.Flush())
	testkit.Check(t, s.Close())
	tables := testkit.Must(filepath.Glob(filepath.Join(dir, "days", benchDay.String(), "*.sst")))(t)
	if len(tables) == 0 {
		t.Fatal("no table to damage")
	}
	for _, path := range tables {
		b := testkit.Must(os.ReadFile(path))(t)
		testkit.Check(t, os.WriteFile(path, damage(b), 0o600))
	}
	s = testkit.Must(Open(dir, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}))(t)
	defer func() { testkit.Check(t, s.Close()) }()
	if _, err := s.Stored(t.Context(), "cafe"); err != nil {
		t.Errorf("counting visits: %v", err)
	}
	for _, r := range rows[:3] {
		if _, _, err := s.Lookup(t.Context(), "cafe", benchDay, r.Blind); err != nil {
			t.Errorf("looking a visit up: %v", err)
		}
	}
	fresh := append(rows[:3:3], storetest.NewRow("door", benchDay.Start(), 3000))
	if n, err := s.Put(t.Context(), "cafe", benchDay, fresh, nil); n < 1 || err != nil {
		t.Errorf("put %d, %v", n, err)
	}
	if _, held, err := s.Lookup(t.Context(), "cafe", benchDay, fresh[3].Blind); !held || err != nil {
		t.Errorf("the new visit is held: %v, %v", held, err)
	}
	if n := log.Count("database is damaged") + log.Count("database of a day is damaged"); n == 0 {
		t.Errorf("told %d times:\n%s", n, log)
	}
}
