package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/boltcheck"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// seedFile returns a journal file with pending, quarantined and settled records and free pages, and its fixture.
func seedFile(t testing.TB) (*fixture, []byte) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 60)
	seg, err := j.Peek(20, 1<<20)
	if err == nil {
		err = j.Settle(visit.Settlement{Journal: seg.Journal, Through: 20, Refused: []visit.Refusal{{Seq: 7, Reason: "malformed"}}})
	}
	if err == nil {
		err = j.Close()
	}
	testkit.Check(t, err)
	j = s.open()
	s.mustAppend(j, 10)
	testkit.Check(t, j.Close())
	b, err := os.ReadFile(filepath.Join(s.dir, fileName))
	testkit.Check(t, err)
	return s, b
}

// checkDamaged opens a journal whose file was replaced by b. It must open without a crash, and either hold all that the
// sound file held, or say what it found; a file that it does not use lies beside it unchanged.
func checkDamaged(t testing.TB, opts Options, sound Ledger, b []byte) {
	t.Helper()
	opts.Dir = t.TempDir()
	testkit.Check(t, os.WriteFile(filepath.Join(opts.Dir, fileName), b, 0o600))
	testkit.Check(t, os.WriteFile(filepath.Join(opts.Dir, markName), []byte(sound.Journal.String()+"\n"), 0o600))
	j, err := Open(opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() {
		testkit.Check(t, j.Close())
	}()
	st := j.Stats()
	l, err := j.Ledger()
	if err == nil {
		err = l.Check()
	}
	if err != nil {
		t.Fatalf("what was opened does not hold together: %v", err)
	}
	if l.Journal != sound.Journal && len(b) > 0 {
		if len(st.Replaced) != 1 {
			t.Fatalf("a fresh journal was begun and nothing set aside: %+v", st)
		}
		kept, err := os.ReadFile(st.Replaced[0])
		if err != nil || !bytes.Equal(kept, b) {
			t.Fatalf("the file set aside is not the one that was there: %v", err)
		}
	}
	if !sameRecords(l, sound) && st.Damage == "" {
		t.Fatal("records are gone or altered, and nothing tells of it")
	}
	if _, err := j.Append(t.Context(), visit.Visit{At: seoulNoon, Issuer: "naver", Clock: visit.ClockSynced}); err != nil {
		t.Fatalf("append: %v", err)
	}
}

func sameRecords(a, b Ledger) bool {
	if len(a.Pending.Records) != len(b.Pending.Records) || len(a.Quarantined) != len(b.Quarantined) {
		return false
	}
	for i, r := range a.Pending.Records {
		if o := b.Pending.Records[i]; r.Seq != o.Seq || !bytes.Equal(r.Data, o.Data) {
			return false
		}
	}
	for i, q := range a.Quarantined {
		if o := b.Quarantined[i]; q.Seq != o.Seq || !bytes.Equal(q.Data, o.Data) || q.Reason != o.Reason {
			return false
		}
	}
	return true
}

func mustContents(t testing.TB, dir string) Ledger {
	t.Helper()
	l, err := Contents(dir)
	testkit.Check(t, err)
	return l
}

func TestADamagedFileIsSetAsideOrItsDamageTold(t *testing.T) {
	s, sound := seedFile(t)
	l := mustContents(t, s.dir)
	page := func(b []byte, n int) []byte { return b[n*boltcheck.PageSize : (n+1)*boltcheck.PageSize] }
	for _, row := range []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{"untouched", func(b []byte) []byte { return b }},
		{"zero length", func([]byte) []byte { return nil }},
		{"one byte", func([]byte) []byte { return []byte{1} }},
		{"half the file", func(b []byte) []byte { return b[:len(b)/2] }},
		{"three pages and a half", func(b []byte) []byte { return b[:3*boltcheck.PageSize+boltcheck.PageSize/2] }},
		{"not a database", func(b []byte) []byte { return bytes.Repeat([]byte("kipass "), len(b)/7) }},
		{"all zero", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"meta page 0 zero", func(b []byte) []byte { clear(page(b, 0)); return b }},
		{"meta page 1 zero", func(b []byte) []byte { clear(page(b, 1)); return b }},
		{"both meta pages zero", func(b []byte) []byte { clear(b[:2*boltcheck.PageSize]); return b }},
		{"all pages but the metas zero", func(b []byte) []byte { clear(b[2*boltcheck.PageSize:]); return b }},
	} {
		t.Run(row.name, func(t *testing.T) { checkDamaged(t, s.options(), l, row.damage(bytes.Clone(sound))) })
	}
	for n := range 2 {
		for at := 0; at < 80; at += 3 {
			b := bytes.Clone(sound)
			b[n*boltcheck.PageSize+at] ^= 0xFF
			checkDamaged(t, s.options(), l, b)
		}
	}
}

func TestRandomDamageNeverPassesUnseen(t *testing.T) {
	s, sound := seedFile(t)
	l := mustContents(t, s.dir)
	used := len(bytes.TrimRight(sound, "\x00"))
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		b := bytes.Clone(sound)
		for range 1 + rnd.IntN(3) {
			at := rnd.IntN(used)
			if rnd.IntN(2) == 0 {
				at = at/boltcheck.PageSize*boltcheck.PageSize + rnd.IntN(200) // where the structure is
			}
			b[min(at, used-1)] ^= byte(1 + rnd.IntN(255))
		}
		checkDamaged(t, s.options(), l, b)
	}
}

func FuzzOpen(f *testing.F) {
	s, sound := seedFile(f)
	l := mustContents(f, s.dir)
	f.Add(uint32(0), []byte{0}, uint32(0))
	f.Add(uint32(3*boltcheck.PageSize+8), []byte{1, 0}, uint32(0))
	f.Add(uint32(5*boltcheck.PageSize+12), []byte{255, 255, 255, 255}, uint32(5*boltcheck.PageSize))
	f.Add(uint32(0), []byte{}, uint32(boltcheck.PageSize))
	f.Fuzz(func(t *testing.T, at uint32, put []byte, length uint32) {
		b := bytes.Clone(sound)
		copy(b[int(at)%len(b):], put)
		if length > 0 {
			b = b[:int(length)%len(b)]
		}
		checkDamaged(t, s.options(), l, b)
	})
}

func TestAJournalThatVanishedIsMissed(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 3)
	testkit.Check(t, j.Close())
	testkit.Check(t, os.Remove(filepath.Join(s.dir, fileName)))
	j = s.open()
	if d := j.Stats().Damage; !strings.Contains(d, "missing") {
		t.Fatalf("damage is %q", d)
	}
}

func TestAnOlderJournalPutBackIsNoticed(t *testing.T) {
	s, _ := seedFile(t)
	other := newFixture(t)
	other.key = s.key
	testkit.Check(t, other.open().Close())
	b, err := os.ReadFile(filepath.Join(other.dir, fileName))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, fileName), b, 0o600)
	}
	testkit.Check(t, err)
	if d := s.open().Stats().Damage; !strings.Contains(d, "last used here") {
		t.Fatalf("damage is %q", d)
	}
}

func TestAFirstStartReportsNothing(t *testing.T) {
	if st := newFixture(t).open().Stats(); st.Damage != "" || len(st.Replaced) != 0 || st.Failed != nil || st.Full != nil {
		t.Fatalf("%+v", st)
	}
}

func TestAJournalOfAnotherPlaceIsSetAside(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 3)
	testkit.Check(t, j.Close())
	opts := s.options()
	opts.Gate = "south"
	j, err := Open(opts)
	testkit.Check(t, err)
	st := j.Stats()
	if st.Backlog != 0 || len(st.Replaced) != 1 || !strings.HasSuffix(st.Replaced[0], elsewhereSuffix) || !strings.Contains(st.Damage, "north") {
		t.Fatalf("%+v", st)
	}
	testkit.Check(t, j.Close())
}

func TestAJournalInUseIsLeftAlone(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 3)
	if _, err := Open(s.options()); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if _, err := Contents(s.dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("contents: %v", err)
	}
	s.mustAppend(j, 1)
	if st := j.Stats(); st.Backlog != 4 || len(st.Replaced) != 0 {
		t.Fatalf("%+v", st)
	}
}

// The file is cut under the running journal: what bbolt has mapped is gone, and touching it is a memory fault.
func TestAFileLostWhileRunningIsReplacedAndTheGateGoesOn(t *testing.T) {
	for _, first := range []string{"append", "peek", "settle", "stats", "destroy", "ledger"} {
		t.Run(first+" is the first to notice", func(t *testing.T) {
			s := newFixture(t)
			j := s.open()
			v := s.visit()
			spread(500, func() {
				if _, err := j.Append(t.Context(), v); err != nil {
					t.Error(err)
				}
			})
			id := j.Stats().Journal
			testkit.Check(t, os.Truncate(filepath.Join(s.dir, fileName), 2*boltcheck.PageSize))
			switch first {
			case "append":
				_ = s.append(j, 1)
			case "peek":
				_, _ = j.Peek(10, 1<<20)
			case "settle":
				_ = j.Settle(visit.Settlement{Journal: id, Through: 5})
			case "stats":
				_ = j.Stats()
			case "destroy":
				_, _ = j.Destroy(seoulNoon.AddDate(0, 0, 40))
			case "ledger":
				_, _ = j.Ledger()
			}
			s.mustAppend(j, 3)
			st := j.Stats()
			if len(st.Replaced) != 1 || st.Journal == id || st.Backlog != 3 || !strings.Contains(st.Damage, "set aside") {
				t.Fatalf("%+v", st)
			}
			testkit.Check(t, j.Close())
			s.checkWhole(newServer(s.key), 0)
		})
	}
}

// What a crash left half written is gone after the next start, whatever it was.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 3)
	testkit.Check(t, j.Close())
	for _, name := range []string{newName, ".new-1234"} {
		testkit.Check(t, os.WriteFile(filepath.Join(s.dir, name), []byte("half"), 0o600))
	}
	s.checkWhole(newServer(s.key), 0)
}
