package embedded

import (
	"bytes"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/storetest"
)

// What Pebble does in the background with a damaged table fails each time. It does so a few times only, and visits are stored
// though nothing is compacted any more. A power cut has taken from the register how many visits there were, so that the damage
// is not found before the database is in use.
func TestADamagedTableKeepsNoProcessorBusy(t *testing.T) {
	const maxFailures = 20
	for rule, c := range map[string]struct {
		tables int // those of level 0 are compacted when there are some of them
		from   float64
		to     float64
	}{
		"the properties of one table":    {1, 0.9, 0.98},
		"the end of one table":           {1, 0.98, 1},
		"the beginning of many tables":   {14, 0, 0.02},
		"all but the end of many tables": {14, 0, 0.98},
		"the rows of many tables":        {14, 0.3, 0.6},
	} {
		t.Run(rule, func(t *testing.T) {
			disk := vfs.NewMem()
			dayOfTables(t, disk, c.tables)
			damageTables(t, disk, func(b []byte) {
				for i := int(c.from * float64(len(b))); i < int(c.to*float64(len(b))); i++ {
					b[i] ^= 0x5a
				}
			})
			var failures atomic.Int64
			s := testkit.Must(Open("/visits", Options{FS: disk, Tune: func(o *pebble.Options) {
				small(o)
				told := o.EventListener.BackgroundError
				o.EventListener.BackgroundError = func(err error) {
					failures.Add(1)
					told(err)
				}
			}}))(t)
			for range 100 { // whatever goes on in the background meanwhile
				testkit.Must(s.Stored(t.Context(), "cafe"))(t)
			}
			if n, err := s.Put(t.Context(), "cafe", benchDay, someRows("door", 10_000, 3000), nil); n != 3000 || err != nil {
				t.Errorf("stored %d visits more: %v", n, err)
			}
			if err := s.Close(); err != nil && !damaged(err) {
				t.Error(err)
			}
			if n := failures.Load(); n > maxFailures {
				t.Errorf("failed %d times", n)
			}
		})
	}
}

// dayOfTables makes a day of that many tables on level 0, which overlap, of which the register knows no number.
func dayOfTables(t *testing.T, disk vfs.FS, tables int) {
	uncompacted := func(o *pebble.Options) { o.DisableAutomaticCompactions = true }
	s := testkit.Must(Open("/visits", Options{FS: disk, Tune: uncompacted}))(t)
	for n := range tables {
		testkit.Must(s.Put(t.Context(), "cafe", benchDay, someRows("door", n*300, 300), nil))(t)
		testkit.Check(t, s.days[benchDay].db.Flush())
	}
	testkit.Check(t, s.register.Delete(dayKey('n', benchDay), pebble.Sync))
	testkit.Check(t, s.Close())
}

func someRows(gate visit.Gate, first, n int) (rows []store.Row) {
	for i := range n {
		rows = append(rows, storetest.NewRow(gate, benchDay.Start(), uint64(first+i)))
	}
	return rows
}

// damageTables changes what is in the tables of benchDay.
func damageTables(t *testing.T, disk vfs.FS, change func(b []byte)) {
	t.Helper()
	dir := filepath.Join("/visits/days", benchDay.String())
	n := 0
	for _, name := range testkit.Must(disk.List(dir))(t) {
		if filepath.Ext(name) == ".sst" {
			b := readFile(t, disk, filepath.Join(dir, name))
			change(b)
			writeFile(t, disk, filepath.Join(dir, name), b)
			n++
		}
	}
	if n == 0 {
		t.Fatal("no table to damage")
	}
}

func readFile(t *testing.T, disk vfs.FS, path string) []byte {
	t.Helper()
	f := testkit.Must(disk.Open(path))(t)
	b := &bytes.Buffer{}
	testkit.Must(b.ReadFrom(f))(t)
	testkit.Check(t, f.Close())
	return b.Bytes()
}

func writeFile(t *testing.T, disk vfs.FS, path string, b []byte) {
	t.Helper()
	f := testkit.Must(disk.Create(path, vfs.WriteCategoryUnspecified))(t)
	testkit.Must(f.Write(b))(t)
	testkit.Check(t, f.Sync())
	testkit.Check(t, f.Close())
}
