package journal

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// A thief has the whole disk: the journal in every state it goes through, all that lies beside it, the log, and the server's
// public key. No code is among it, nor eight bytes of one, nor a time or a name that would be of use.
func TestACopiedDiskRevealsNoCode(t *testing.T) {
	s := newFixture(t)
	var log bytes.Buffer
	opts := s.options()
	opts.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	j, err := Open(opts)
	testkit.Check(t, err)
	s.mustAppend(j, 200)
	seg, err := j.Peek(50, 1<<20)
	if err == nil {
		err = j.Settle(visit.Settlement{Journal: seg.Journal, Through: 50, Refused: []visit.Refusal{{Seq: 5, Reason: "malformed"}}})
	}
	testkit.Check(t, err)
	f := &faulty{count: 1, err: errors.New("no")}
	j.opts.System.Update = f.update
	if err := s.append(j, 1); err == nil {
		t.Fatal("the fault did not show")
	}
	s.mustAppend(j, 1)
	if err := os.Truncate(filepath.Join(s.dir, fileName), 40<<10); err != nil { // leaves a file set aside
		t.Fatal(err)
	}
	_ = s.append(j, 1)
	s.mustAppend(j, 20)
	if len(j.Stats().Replaced) == 0 {
		t.Fatal("nothing was set aside")
	}
	public := s.key.Public().Bytes()
	testkit.Check(t, os.WriteFile(filepath.Join(s.dir, "seal.pub"), public, 0o600))

	pieces := map[[8]byte]bool{}
	for cti := range s.acked {
		for i := 0; i+8 <= len(cti); i++ {
			pieces[[8]byte(cti[i:])] = true
		}
	}
	search := func(name string, b []byte) {
		for i := 0; i+8 <= len(b); i++ {
			if pieces[[8]byte(b[i:])] {
				t.Fatalf("%s holds eight bytes of a code at %d", name, i)
			}
		}
		if bytes.Contains(b, []byte("naver")) {
			t.Fatalf("%s tells an issuer", name)
		}
	}
	entries, err := os.ReadDir(s.dir)
	testkit.Check(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		testkit.Check(t, err)
		search(e.Name(), b)
	}
	search("the log", log.Bytes())
	if log.Len() == 0 {
		t.Fatal("there is no log to search")
	}
	var planted visit.CTI
	for planted = range s.acked {
		break
	}
	if !pieces[[8]byte(planted[10:])] {
		t.Fatal("the search would not find a code")
	}

	testkit.Check(t, j.Close())
	l := mustContents(t, s.dir)
	thief, err := visit.GenerateSealKey()
	testkit.Check(t, err)
	for _, e := range l.Pending.Epochs {
		e.Key = thief.ID()
		opener, err := visit.NewOpener(thief, "hall-1", "north", e)
		if err != nil {
			continue
		}
		for _, r := range l.Pending.Records {
			if _, err := opener.Open(r.Seq, r.Data); !errors.Is(err, visit.ErrUnsealable) {
				t.Fatalf("record %d opens without the server's key: %v", r.Seq, err)
			}
		}
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	s := newFixture(t)
	s.dir = filepath.Join(s.dir, "state", "journal")
	j := s.open()
	s.mustAppend(j, 1)
	if err := filepath.Walk(s.dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestARecordTakesAtMost40BytesMoreThanTheVisit(t *testing.T) {
	s := newFixture(t)
	j := s.open()
	s.mustAppend(j, 1)
	seg, err := j.Peek(1, 1<<20)
	testkit.Check(t, err)
	record, err := s.visit().Marshal()
	testkit.Check(t, err)
	const key, element = 8, 16 // what bbolt keeps of a record beside its value
	if over := len(seg.Records[0].Data) + key + element - len(record); over > 40 {
		t.Fatalf("a record takes %d bytes more than the visit", over)
	}
}
