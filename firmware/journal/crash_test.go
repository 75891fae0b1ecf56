package journal

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"testing"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	dirVariable = "KIPASS_JOURNAL_DIR"
	keyVariable = "KIPASS_JOURNAL_KEY" // the server's public key, hexadecimal
)

// roleOptions are those of a journal that another process's test looks at.
func roleOptions() (Options, error) {
	b, err := hex.DecodeString(os.Getenv(keyVariable))
	if err != nil {
		return Options{}, err
	}
	key, err := visit.ParseSealPublicKey(b)
	return Options{Dir: os.Getenv(dirVariable), Facility: "hall-1", Gate: "north", SealKey: key, FreeFloor: 1}, err
}

func roleCommand(s *fixture, role, dir string) *exec.Cmd {
	c := drivertest.Again()
	c.Env = append(os.Environ(), roleVariable+"="+role, dirVariable+"="+dir, keyVariable+"="+hex.EncodeToString(s.key.Public().Bytes()))
	c.Stderr = os.Stderr
	return c
}

func roleVisit() visit.Visit {
	v := visit.Visit{At: seoulNoon, Issuer: "naver", Clock: visit.ClockSynced}
	_, _ = rand.Read(v.CTI[:])
	return v
}

// roleAppend appends from four goroutines for ever, settles now and then, and prints what was acknowledged: "+ code" after
// an append returned, "- sequence" before a settlement.
func roleAppend() error {
	opts, err := roleOptions()
	if err != nil {
		return err
	}
	j, err := Open(opts)
	if err != nil {
		return err
	}
	lines := make(chan string)
	for range 4 {
		go func() {
			for {
				v := roleVisit()
				if _, err := j.Append(context.Background(), v); err != nil {
					lines <- "! " + err.Error()
				}
				lines <- "+ " + hex.EncodeToString(v.CTI[:])
			}
		}()
	}
	for n := 0; ; n++ {
		line := <-lines
		if line[0] == '!' {
			return errors.New(line)
		}
		if _, err := fmt.Println(line); err != nil {
			return err
		}
		if n%50 != 49 {
			continue
		}
		l, err := j.Ledger()
		if err != nil {
			return err
		}
		through := l.Tail.Seq + (l.Head.Seq-l.Tail.Seq)/2
		for _, r := range l.Pending.Records {
			if r.Seq > through {
				break
			}
			e, _ := l.Pending.EpochOf(r.Seq)
			if _, err := fmt.Printf("- %d %x %x %x\n", r.Seq, e.Key[:], e.Enc, r.Data); err != nil {
				return err
			}
		}
		if err := j.Settle(visit.Settlement{Journal: l.Journal, Through: through}); err != nil {
			return err
		}
	}
}

// A gate is killed while it appends and settles, again and again on the same directory. Whatever it acknowledged was
// either handed over or is still there and opens; its account holds; no sequence was sealed twice in an epoch.
func TestKilledWhileAppendingNothingAcknowledgedIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and kills them")
	}
	s := newFixture(t)
	srv := newServer(s.key)
	taken := map[visit.CTI]bool{}
	for range 8 {
		limit, err := rand.Int(rand.Reader, big.NewInt(400))
		testkit.Check(t, err)
		c := roleCommand(s, "append", s.dir)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		testkit.Check(t, err)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for n := int64(0); lines.Scan(); n++ {
			if n == limit.Int64() {
				testkit.Check(t, c.Process.Kill())
			}
			s.note(lines.Text(), taken)
		}
		if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != -1 {
			t.Fatalf("the gate was not killed: %v", err)
		}
		l := mustContents(t, s.dir)
		testkit.Check(t, l.Check())
		srv.heads[l.Journal] = l.Tail
		testkit.Check(t, srv.take(l.Pending))
		for cti := range s.acked {
			if !taken[cti] && srv.stored[cti] == 0 {
				t.Fatalf("an acknowledged visit is lost; %d were acknowledged", len(s.acked))
			}
		}
		if s.exists(newName) {
			t.Log("killed while a file was being rewritten")
		}
	}
	if len(s.acked) == 0 || len(taken) == 0 {
		t.Fatal("nothing was appended or nothing settled before the kills")
	}
}

// note takes in a line of roleAppend. A torn last line tells nothing.
func (s *fixture) note(line string, taken map[visit.CTI]bool) {
	var seq uint64
	var key, enc, data []byte
	if n, _ := fmt.Sscanf(line, "- %d %x %x %x", &seq, &key, &enc, &data); n == 4 && len(enc) == visit.EncSize {
		o := s.openers[string(enc)]
		if o == nil {
			var err error
			if o, err = visit.NewOpener(s.key, "hall-1", "north", visit.Epoch{Key: visit.SealKeyID(key), Enc: enc}); err != nil {
				s.t.Fatal(err)
			}
			s.openers[string(enc)] = o
		}
		if v, err := o.Open(seq, data); err == nil {
			taken[v.CTI] = true
		}
		return
	}
	var code []byte
	if n, _ := fmt.Sscanf(line, "+ %x", &code); n == 1 && len(code) == visit.CTISize {
		s.acked[visit.CTI(code)] = true
	}
}
