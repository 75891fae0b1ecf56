package auditlog

import (
	"errors"
	"strings"
	"testing"
)

var errPlayed = errors.New("played fault")

// faulty fails the operation fail, after having done it where persisted is set.
type faulty struct {
	disk
	fail      string
	persisted bool
	armed     bool
}

func (f *faulty) play(op string, do func() error) error {
	if !f.armed || op != f.fail {
		return do()
	}
	f.armed = false
	if f.persisted {
		if err := do(); err != nil {
			return err
		}
	}
	return errPlayed
}

func (f *faulty) OpenAppend(path string) (appendFile, error) {
	a, err := f.disk.OpenAppend(path)
	return faultyFile{a, f}, err
}

func (f *faulty) Replace(path string, data []byte) error {
	return f.play("replace", func() error { return f.disk.Replace(path, data) })
}

type faultyFile struct {
	appendFile
	f *faulty
}

func (a faultyFile) Write(b []byte) (n int, err error) {
	if a.f.armed && a.f.fail == "half-write" {
		a.f.armed = false
		n, _ = a.appendFile.Write(b[:len(b)/2])
		return n, errPlayed
	}
	err = a.f.play("write", func() error { n, err = a.appendFile.Write(b); return err })
	return n, err
}

func (a faultyFile) Sync() error { return a.f.play("sync", a.appendFile.Sync) }

// After any fault the log holds every acknowledged entry, in order, at its number, and nothing that was never handed in;
// the entry that failed may be there only if its checkpoint was persisted. It holds on the same Log and after reopening.
func TestFaultsOfAppend(t *testing.T) {
	tests := []struct {
		fail      string
		persisted bool
		kept      bool // the failed entry is in the log afterwards
	}{
		{"write", false, false}, {"write", true, false}, {"half-write", false, false},
		{"sync", false, false}, {"sync", true, false},
		{"replace", false, false}, {"replace", true, true},
	}
	for _, tt := range tests {
		for _, reopen := range []bool{false, true} {
			name := tt.fail + map[bool]string{false: " failed", true: " failed but persisted"}[tt.persisted] +
				map[bool]string{false: ", same process", true: ", restarted"}[reopen]
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				f := &faulty{fail: tt.fail, persisted: tt.persisted}
				l, err := open(dir, testKey(1), origin, f)
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				add := func(i int) {
					t.Helper()
					n, err := l.Append(entry(i))
					if err != nil || n != uint64(len(want)) {
						t.Fatalf("Append = %d, %v, want %d", n, err, len(want))
					}
					want = append(want, entry(i).Case)
				}
				add(0)
				add(1)
				older := l.Checkpoint()
				f.armed = true
				if _, err := l.Append(entry(2)); !errors.Is(err, errPlayed) {
					t.Fatalf("Append under fault = %v", err)
				}
				if tt.kept {
					want = append(want, entry(2).Case)
				}
				if reopen {
					l.Close()
					if l, err = open(dir, testKey(1), origin, disk{}); err != nil {
						t.Fatal(err)
					}
				}
				add(3)
				l.Close()
				r, err := Verify(dir, public(testKey(1)), origin, older)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, e := range r.Entries {
					got = append(got, e.Case)
				}
				if strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("log holds %v, want %v", got, want)
				}
			})
		}
	}
}
