package journal

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

func TestTheFloorOfFreeSpaceStopsAppendsUntilSpaceReturns(t *testing.T) {
	s := newFixture(t)
	free := uint64(100)
	opts := s.options()
	opts.FreeFloor = 100
	opts.System.Free = func(string) (uint64, error) { return free, nil }
	j, err := Open(opts)
	testkit.Check(t, err)
	s.mustAppend(j, 2)
	free = 99
	j.spaceRead = time.Time{}
	if err := s.append(j, 1); !errors.Is(err, ErrFull) {
		t.Fatalf("append below the floor: %v", err)
	}
	if st := j.Stats(); !errors.Is(st.Full, ErrFull) || !errors.Is(st.Failed, ErrFull) {
		t.Fatalf("%+v", st)
	}
	if err := j.Settle(visit.Settlement{Journal: j.Stats().Journal, Through: 1}); err != nil {
		t.Fatalf("a full journal cannot be settled: %v", err)
	}
	free = 100
	if st := j.Stats(); st.Full != nil {
		t.Fatalf("space is back: %v", st.Full)
	}
	s.mustAppend(j, 1)
	if st := j.Stats(); st.Failed != nil || st.Backlog != 2 {
		t.Fatalf("%+v", st)
	}
	testkit.Check(t, j.Close())
}

func TestAJournalAtItsSizeLimitCanBeDrained(t *testing.T) {
	s := newFixture(t)
	opts := s.options()
	opts.MaxSize = 100 << 10
	j, err := Open(opts)
	testkit.Check(t, err)
	for n := 0; ; n++ {
		if err = s.append(j, 1); err != nil {
			break
		}
		if n > 5000 {
			t.Fatal("the limit does not bind")
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	srv := newServer(s.key)
	testkit.Check(t, srv.drain(j, 100))
	s.mustAppend(j, 5)
	testkit.Check(t, j.Close())
	s.checkWhole(srv, 0)
}

// roleFill appends until the disk is full, checks that the journal says so and can be read, makes space, goes on, and prints
// what was acknowledged. With a number in KIPASS_JOURNAL_LIMIT the limit is the size of a file rather than a file system.
func roleFill() error {
	opts, err := roleOptions()
	if err != nil {
		return err
	}
	var free func() error
	ballast := filepath.Join(opts.Dir, "ballast")
	if os.Getenv(limitVariable) == "" {
		if err := unix.Mount("tmpfs", opts.Dir, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
			return fmt.Errorf("%s: %w", noMount, err)
		}
		if err := os.WriteFile(ballast, make([]byte, 1200<<10), 0o600); err != nil {
			return err
		}
		free = func() error { return os.Remove(ballast) }
	} else {
		signal.Ignore(syscall.SIGXFSZ)
		limit := unix.Rlimit{Cur: 1200 << 10, Max: 600 << 20}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		free = func() error {
			limit.Cur = limit.Max
			return unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)
		}
	}
	j, err := Open(opts)
	if err != nil {
		return err
	}
	put := func() error {
		v := roleVisit()
		if _, err := j.Append(context.Background(), v); err != nil {
			return err
		}
		_, err := fmt.Println("+ " + hex.EncodeToString(v.CTI[:]))
		return err
	}
	ends := make(chan error)
	for range 32 {
		go func() {
			for {
				if err := put(); err != nil {
					ends <- err
					return
				}
			}
		}()
	}
	for range 32 {
		if err := <-ends; !errors.Is(err, ErrFull) {
			return fmt.Errorf("%w, want a full disk", err)
		}
	}
	for range 3 {
		if err := put(); err == nil {
			return errors.New("an append went through on a full disk")
		}
		seg, err := j.Peek(10, 1<<20)
		if err != nil || len(seg.Records) != 10 {
			return fmt.Errorf("a full journal cannot be read: %w", err)
		}
	}
	if err := free(); err != nil {
		return err
	}
	for range 10 {
		if err := put(); err != nil {
			return fmt.Errorf("space is back: %w", err)
		}
	}
	l, err := j.Ledger()
	if err != nil {
		return err
	}
	if err := l.Check(); err != nil {
		return err
	}
	if st := j.Stats(); len(st.Replaced) > 0 || st.Damage != "" {
		return fmt.Errorf("a sound file was set aside: %s", st.Damage)
	}
	for _, r := range l.Pending.Records {
		e, _ := l.Pending.EpochOf(r.Seq)
		if _, err := fmt.Printf("- %d %x %x %x\n", r.Seq, e.Key[:], e.Enc, r.Data); err != nil {
			return err
		}
	}
	return j.Close()
}

const (
	limitVariable = "KIPASS_JOURNAL_LIMIT"
	noMount       = "no file system can be mounted here"
)

func TestARealDiskThatFillsUp(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes, and mounts a file system")
	}
	for _, row := range []struct {
		name  string
		limit string
	}{{"file system of two MiB", ""}, {"limit of file size", "1200k"}} {
		t.Run(row.name, func(t *testing.T) {
			s := newFixture(t)
			c := roleCommand(s, "fill", s.dir)
			c.Env = append(c.Env, limitVariable+"="+row.limit)
			var stderr strings.Builder
			c.Stderr = &stderr
			if row.limit == "" {
				asNamespaceRoot(c)
			}
			out, err := c.StdoutPipe()
			if err == nil {
				err = c.Start()
			}
			if err != nil && row.limit == "" && errors.Is(err, unix.EPERM) {
				t.Skip("this system lets nobody but root make a mount namespace")
			}
			testkit.Check(t, err)
			taken := map[visit.CTI]bool{}
			lines := bufio.NewScanner(out)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				s.note(lines.Text(), taken)
			}
			if err := c.Wait(); err != nil {
				if strings.Contains(stderr.String(), noMount) {
					t.Skip(stderr.String())
				}
				t.Fatalf("%v: %s", err, stderr.String())
			}
			if len(s.acked) < 100 {
				t.Fatalf("only %d appends were acknowledged", len(s.acked))
			}
			for cti := range s.acked {
				if !taken[cti] {
					t.Fatal("an acknowledged visit is lost")
				}
			}
		})
	}
}

// asNamespaceRoot lets the command mount a file system that nobody else sees.
func asNamespaceRoot(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}
