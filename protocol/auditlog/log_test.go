package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

const origin = "visits.example.kr/audit"

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

var start = time.Date(2020, 7, 1, 9, 0, 0, 0, time.UTC)

func entry(i int) Entry {
	return Entry{
		Kind: KindInquiry, At: start.Add(time.Duration(i) * time.Minute), Case: fmt.Sprint("case-", i), Officer: "kim", Count: uint64(i),
	}
}

// written makes a log of n entries and returns the checkpoint after each, the empty log's first.
func written(t testing.TB, dir string, n int) [][]byte {
	t.Helper()
	l := testkit.Must(Open(dir, testKey(1), origin))(t)
	checkpoints := [][]byte{l.Checkpoint()}
	for i := range n {
		got, err := l.Append(entry(i))
		if err != nil || got != uint64(i) {
			t.Fatalf("Append %d = %d, %v", i, got, err)
		}
		checkpoints = append(checkpoints, l.Checkpoint())
	}
	testkit.Check(t, l.Close())
	return checkpoints
}

func TestAppendedEntriesAreThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	older := written(t, dir, 9)
	l := testkit.Must(Open(dir, testKey(1), origin))(t)
	defer l.Close()
	if n, err := l.Append(entry(9)); err != nil || n != 9 {
		t.Fatalf("Append after reopening = %d, %v", n, err)
	}
	r := testkit.Must(Verify(dir, public(testKey(1)), origin, older...))(t)
	if r.Size != 10 || len(r.Entries) != 10 || r.Unsigned != 0 {
		t.Fatalf("report = %d entries, %d unsigned bytes", r.Size, r.Unsigned)
	}
	for i, e := range r.Entries {
		if e.Case != fmt.Sprint("case-", i) || e.Count != uint64(i) || !e.At.Equal(entry(i).At) {
			t.Errorf("entry %d reads back as %+v", i, e)
		}
	}
	entries, signed, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	vkey := testkit.Must(VerifierKey(origin, public(testKey(1))))(t)
	if r, err := Check(entries, signed, vkey); err != nil || r.Size != 10 {
		t.Errorf("Check of the snapshot = %d entries, %v", r.Size, err)
	}
}

func TestConcurrentAppendsGetDistinctNumbers(t *testing.T) {
	dir := t.TempDir()
	l := testkit.Must(Open(dir, testKey(1), origin))(t)
	defer l.Close()
	numbers := make([]uint64, 16)
	var wg sync.WaitGroup
	for i := range numbers {
		wg.Go(func() {
			n, err := l.Append(entry(i))
			if err != nil {
				t.Error(err)
			}
			numbers[i] = n
		})
	}
	wg.Wait()
	r := testkit.Must(Verify(dir, public(testKey(1)), origin))(t)
	for i, n := range numbers {
		if n >= r.Size || r.Entries[n].Case != fmt.Sprint("case-", i) {
			t.Errorf("append %d was given number %d, which is another entry", i, n)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	l := testkit.Must(Open(dir, testKey(1), origin))(t)
	if _, err := Open(dir, testKey(1), origin); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open = %v, want ErrInUse", err)
	}
	testkit.Check(t, l.Close())
	if _, err := l.Append(entry(0)); err == nil {
		t.Error("Append to a closed log succeeded")
	}
	testkit.Check(t, testkit.Must(Open(dir, testKey(1), origin))(t).Close())
}

func TestTamperingIsFound(t *testing.T) {
	cut := func(b []byte, n int) []byte {
		return bytes.Join(bytes.SplitAfter(b, []byte("\n"))[:n], nil)
	}
	rewritten := func(t *testing.T, key ed25519.PrivateKey, n int, change int) (entries, checkpoint []byte) {
		dir := t.TempDir()
		l := testkit.Must(Open(dir, key, origin))(t)
		defer l.Close()
		for i := range n {
			e := entry(i)
			if i == change {
				e.Officer = "lee"
			}
			testkit.Must(l.Append(e))(t)
		}
		entries, checkpoint, err := l.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return entries, checkpoint
	}
	tests := map[string]struct {
		tamper func(t *testing.T, entries, checkpoint []byte) ([]byte, []byte)
		opens  bool // a program that opens the log cannot see it; an auditor with an older checkpoint does
	}{
		"a byte flipped in an entry": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			e[len(e)/2] ^= 1
			return e, c
		}},
		"an entry dropped from the middle": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			all := bytes.SplitAfter(e, []byte("\n"))
			return bytes.Join(append(all[:3:3], all[4:]...), nil), c
		}},
		"two entries swapped": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			all := bytes.SplitAfter(e, []byte("\n"))
			all[2], all[5] = all[5], all[2]
			return bytes.Join(all, nil), c
		}},
		"the last entry cut off": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) { return cut(e, 7), c }},
		"the last byte cut off":  {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) { return e[:len(e)-1], c }},
		"all entries gone":       {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) { return nil, c }},
		"the checkpoint gone":    {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) { return e, nil }},
		"the checkpoint's size": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			return e, bytes.Replace(c, []byte("\n8\n"), []byte("\n7\n"), 1)
		}},
		"an entry put in between": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			all := bytes.SplitAfter(e, []byte("\n"))
			return bytes.Join(append(append(all[:3:3], all[1]), all[3:]...), nil), c
		}},
		"history rewritten under another key": {tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			return rewritten(t, testKey(2), 8, 3)
		}},
		"history rewritten under the log's own key": {opens: true, tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			return rewritten(t, testKey(1), 12, 3)
		}},
		"an older state put back": {opens: true, tamper: func(t *testing.T, e, c []byte) ([]byte, []byte) {
			return rewritten(t, testKey(1), 6, -1)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			older := written(t, dir, 8)
			path := filepath.Join(dir, EntriesFile)
			entries := testkit.Must(os.ReadFile(path))(t)
			entries, checkpoint := tt.tamper(t, entries, bytes.Clone(older[8]))
			testkit.Check(t, os.WriteFile(path, entries, 0o644))
			testkit.Check(t, os.WriteFile(filepath.Join(dir, CheckpointFile), checkpoint, 0o644))
			if checkpoint == nil {
				os.Remove(filepath.Join(dir, CheckpointFile))
			}
			if _, err := Verify(dir, public(testKey(1)), origin, older[7], older[8]); err == nil {
				t.Error("Verify finds nothing")
			} else if checkpoint != nil && !errors.Is(err, ErrTampered) {
				t.Errorf("Verify = %v, want ErrTampered", err)
			}
			l, err := Open(dir, testKey(1), origin)
			if tt.opens {
				if err != nil {
					t.Fatalf("Open = %v", err)
				}
				l.Close()
				return
			}
			if !errors.Is(err, ErrTampered) {
				t.Errorf("Open = %v, want ErrTampered", err)
			}
			after, _ := os.ReadFile(path)
			if !bytes.Equal(after, entries) {
				t.Error("Open changed a log it refused")
			}
		})
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	dir := t.TempDir()
	older := written(t, dir, 3)
	entries := testkit.Must(os.ReadFile(filepath.Join(dir, EntriesFile)))(t)
	vkey := testkit.Must(VerifierKey(origin, public(testKey(1))))(t)
	for i := range entries {
		entries[i] ^= 1 << (i % 8)
		if _, err := Check(entries, older[3], vkey); !errors.Is(err, ErrTampered) {
			t.Fatalf("a bit flipped at byte %d is not found: %v", i, err)
		}
		entries[i] ^= 1 << (i % 8)
	}
	if _, err := Check(entries, older[3], vkey); err != nil {
		t.Fatal(err)
	}
}

func TestUnsignedTailIsCutAndReported(t *testing.T) {
	for _, tail := range []string{`{"kind":"inq`, `{"kind":"inquiry","at":"2020-07-01T00:00:00Z","count":1}` + "\n"} {
		dir := t.TempDir()
		older := written(t, dir, 4)
		f := testkit.Must(os.OpenFile(filepath.Join(dir, EntriesFile), os.O_APPEND|os.O_WRONLY, 0))(t)
		f.WriteString(tail)
		f.Close()
		if r, err := Verify(dir, public(testKey(1)), origin, older...); err != nil || r.Size != 4 || r.Unsigned != int64(len(tail)) {
			t.Errorf("Verify = %d entries, %d unsigned bytes, %v", r.Size, r.Unsigned, err)
		}
		l := testkit.Must(Open(dir, testKey(1), origin))(t)
		if l.Cut() != int64(len(tail)) {
			t.Errorf("Cut = %d, want %d", l.Cut(), len(tail))
		}
		if n, err := l.Append(entry(4)); err != nil || n != 4 {
			t.Errorf("Append after the cut = %d, %v", n, err)
		}
		l.Close()
		if r, err := Verify(dir, public(testKey(1)), origin, older...); err != nil || r.Size != 5 || r.Unsigned != 0 {
			t.Errorf("Verify after the cut = %d entries, %d unsigned bytes, %v", r.Size, r.Unsigned, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add(testkit.Must(entry(1).leaf())(f))
	f.Add([]byte(`{"kind":"x","at":"2020-07-01T00:00:00Z","count":0}{}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := ParseEntry(leaf)
		if err != nil {
			return
		}
		if e.Kind == "" {
			t.Error("an entry without kind was read")
		}
	})
}

// FuzzCheck holds every log that is accepted against the three entries that were signed. Entries and checkpoint are also
// tried each beside its good counterpart, which no change to one of them alone may fit.
func FuzzCheck(f *testing.F) {
	older := written(f, f.TempDir(), 3)
	vkey := testkit.Must(VerifierKey(origin, public(testKey(1))))(f)
	var good []byte
	for i := range 3 {
		good = append(append(good, testkit.Must(entry(i).leaf())(f)...), '\n')
	}
	signed := Leaves(good)
	f.Add(good, older[3])
	f.Add(good[:len(good)-1], older[2])
	f.Add([]byte("{}\n"), []byte(origin+"\n1\nAAAA\n"))
	f.Fuzz(func(t *testing.T, entries, checkpoint []byte) {
		for _, log := range []struct{ entries, checkpoint []byte }{{entries, checkpoint}, {entries, older[3]}, {good, checkpoint}} {
			r, err := Check(log.entries, log.checkpoint, vkey)
			if err != nil {
				continue
			}
			if r.Size > uint64(len(signed)) || r.Size != uint64(len(r.Entries)) {
				t.Fatalf("%d entries of a log of %d", r.Size, len(signed))
			}
			for i, leaf := range Leaves(log.entries)[:r.Size] {
				if !bytes.Equal(leaf, signed[i]) {
					t.Errorf("entry %d was accepted that the key never signed", i)
				}
			}
		}
	})
}
