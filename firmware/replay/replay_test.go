package replay

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
)

// fixture is a folder in memory and the uptime of a machine.
type fixture struct {
	t      *testing.T
	dir    string
	uptime time.Duration
}

func newFixture(t *testing.T) *fixture {
	return &fixture{t: t, dir: testkit.MemoryDir(t), uptime: time.Hour}
}

func (f *fixture) open() *Set {
	f.t.Helper()
	s, err := Open(Options{Dir: f.dir, Name: "cafe-door", Uptime: func() time.Duration { return f.uptime }})
	testkit.Check(f.t, err)
	return s
}

func (f *fixture) path() string { return filepath.Join(f.dir, "cafe-door.replay") }

// raw returns what the file holds.
func (f *fixture) raw() []byte { f.t.Helper(); return testkit.Must(os.ReadFile(f.path()))(f.t) }

// show has a visitor show a code at a lane, and says what it is to them.
func show(t *testing.T, s *Set, issuer string, cti byte, lane string) Admission {
	t.Helper()
	c, mine := s.Claim(issuer, token.CTI{cti}, time.Minute)
	if mine {
		s.Settle(c, true)
	}
	a, err := s.Admit(c, lane, time.Now())
	testkit.Check(t, err)
	return a
}

func TestACodeIsFirstOnce(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *Set{
		"in a folder": func(t *testing.T) *Set { return newFixture(t).open() },
		"in none":     func(*testing.T) *Set { return New() },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			for i, c := range []struct {
				issuer string
				cti    byte
				lane   string
				want   Admission
			}{
				{"naver", 1, "front", First}, {"naver", 1, "front", Recent}, {"naver", 1, "side", Used}, {"naver", 1, "front", Recent},
				{"pass", 1, "front", First}, // another issuer's code, though of the same cti
				{"naver", 2, "front", First},
			} {
				if got := show(t, s, c.issuer, c.cti, c.lane); got != c.want {
					t.Errorf("code %d: %v, want %v", i, got, c.want)
				}
			}
			testkit.Check(t, s.Close())
		})
	}
}

func TestAClaimThatFailsIsGivenUp(t *testing.T) {
	s := New()
	c, mine := s.Claim("naver", token.CTI{1}, time.Minute)
	if second, again := s.Claim("naver", token.CTI{1}, time.Minute); !mine || again || second != c {
		t.Fatal("a claimed code was claimed again")
	}
	s.Settle(c, false)
	<-c.Settled()
	if next, mine := s.Claim("naver", token.CTI{1}, time.Minute); c.Durable() || !mine || next == c {
		t.Error("a claim that failed holds")
	}
}

func TestClaimsAreForgottenAfterTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		show(t, s, "naver", 1, "front")
		time.Sleep(time.Minute)
		if got := show(t, s, "naver", 1, "front"); got != Used {
			t.Errorf("at the end of its time a code is %v", got)
		}
		time.Sleep(time.Millisecond)
		testkit.Check(t, s.Sweep())
		if n := len(s.claims) + len(s.order); n != 0 {
			t.Errorf("%d claims are kept", n)
		}
	})
}

func TestWhatOutlastsTheProgram(t *testing.T) {
	f := newFixture(t)
	killed := f.open() // never closed
	show(t, killed, "naver", 1, "front")
	f.uptime += keptFor - time.Second
	show(t, killed, "naver", 2, "front")
	f.uptime += time.Second - time.Millisecond
	for name, again := range map[string]*Set{"after a kill": f.open(), "after an end": func() *Set {
		s := f.open()
		testkit.Check(t, s.Close())
		return f.open()
	}()} {
		for cti := byte(1); cti <= 2; cti++ {
			if got := show(t, again, "naver", cti, "front"); got != Used {
				t.Errorf("%s code %d is %v, want used", name, cti, got)
			}
		}
	}
	f.uptime += time.Millisecond
	later := f.open()
	if got := show(t, later, "naver", 1, "front"); got != First {
		t.Errorf("past its time a code is %v", got)
	}
	if got := show(t, later, "naver", 2, "front"); got != Used {
		t.Errorf("what was admitted later is %v", got)
	}
}

// The folder holds a key, and digests of the last minute and a half, nothing of what was read.
func TestWhatTheFolderHolds(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	for i := range byte(10) {
		show(t, s, "naver", 'a'+i, "front")
	}
	testkit.Check(t, s.Sweep())
	raw := f.raw()
	if len(raw) != headerSize+10*recordSize {
		t.Errorf("%d bytes", len(raw))
	}
	cti := token.CTI{'a'}
	if bytes.Contains(raw, []byte("naver")) || bytes.Contains(raw, cti[:]) || bytes.Contains(raw, []byte("front")) {
		t.Error("the file holds what was read")
	}
	f.uptime += keptFor
	testkit.Check(t, s.Sweep())
	if raw := f.raw(); len(raw) != headerSize {
		t.Errorf("%d bytes after a minute and a half", len(raw)-headerSize)
	}
	show(t, s, "naver", 1, "front")
	if raw := f.raw(); len(raw) != headerSize+recordSize {
		t.Error("what is admitted after a sweep is not kept")
	}
	entries := testkit.Must(os.ReadDir(f.dir))(t)
	info := testkit.Must(os.Stat(f.path()))(t)
	if len(entries) != 1 || info.Mode() != 0o600 {
		t.Errorf("%v in the folder, mode %v", entries, info.Mode())
	}
}

func TestAFileThatIsNoneOfOurs(t *testing.T) {
	f := newFixture(t)
	show(t, f.open(), "naver", 1, "front")
	whole := f.raw()
	for name, c := range map[string]struct {
		raw  []byte
		want Admission // of the code
	}{
		"empty":               {nil, First},
		"a header cut short":  {whole[:headerSize-1], First},
		"a record cut short":  {append(bytes.Clone(whole), 1, 2, 3), Used},
		"something else":      {bytes.Repeat([]byte("x"), 1000), First},
		"of another format":   {append([]byte("kipass replay 2\n"), whole[16:]...), First},
		"a record of garbage": {append(bytes.Clone(whole), bytes.Repeat([]byte{0xFF}, recordSize)...), Used},
	} {
		testkit.Check(t, os.WriteFile(f.path(), c.raw, 0o600))
		s := f.open()
		if got := show(t, s, "naver", 1, "front"); got != c.want {
			t.Errorf("%s: the code is %v, want %v", name, got, c.want)
		}
		show(t, s, "naver", 9, "front")
		if got := show(t, f.open(), "naver", 9, "front"); got != Used {
			t.Errorf("%s: what is admitted then is %v after a restart", name, got)
		}
	}
}

func TestAFolderOnADiskIsRefused(t *testing.T) {
	disk := t.TempDir()
	if Volatile(disk) == nil {
		disk = "/proc/self" // the tests' own folder lies in memory here; this lies on neither tmpfs nor ramfs
	}
	if _, err := Open(Options{Dir: disk, Name: "cafe-door"}); err == nil {
		t.Error("codes would be remembered on a disk")
	}
	if _, err := Open(Options{Dir: filepath.Join(testkit.MemoryDir(t), "missing"), Name: "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// A folder that is full or gone costs the memory, not the answer, and is told until it is well.
func TestAFolderThatFails(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	show(t, s, "naver", 1, "front")
	testkit.Check(t, os.RemoveAll(f.dir))
	f.uptime += keptFor
	if err := s.Sweep(); err == nil {
		t.Error("a folder that is gone is no error")
	}
	c, _ := s.Claim("naver", token.CTI{2}, time.Minute)
	s.Settle(c, true)
	if got, err := s.Admit(c, "front", time.Now()); got != First || err == nil {
		t.Errorf("%v, %v", got, err)
	}
	testkit.Check(t, os.Mkdir(f.dir, 0o700))
	testkit.Check(t, s.Sweep())
	if got := show(t, f.open(), "naver", 2, "front"); got != Used {
		t.Errorf("what was admitted meanwhile is %v after a restart", got)
	}
}
