package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/internal/testkit"
)

// checkWhole is the one check every fault ends in. Whatever happened to the journal before: it opens again, its account
// is complete, bbolt finds no fault in the file, it takes new visits, every visit ever acknowledged reaches the server
// exactly once in order under nonces used once only, and nothing unfinished is left in the directory. srv is the server that
// has taken what was delivered before; gone says how many acknowledged visits were rightly destroyed or set aside.
func (s *fixture) checkWhole(srv *server, gone int) {
	s.t.Helper()
	l, err := Contents(s.dir)
	if err != nil {
		s.t.Fatalf("contents: %v", err)
	}
	testkit.Check(s.t, l.Check())
	j := s.open()
	s.mustAppend(j, 3)
	s.checkStructure(j)
	for _, q := range l.Quarantined {
		testkit.Check(s.t, srv.note(q))
	}
	testkit.Check(s.t, srv.drain(j, 4))
	missing := 0
	for cti := range s.acked {
		switch srv.stored[cti] {
		case 1:
		case 0:
			missing++
		default:
			s.t.Fatalf("an acknowledged visit is stored %d times", srv.stored[cti])
		}
	}
	if missing != gone {
		s.t.Fatalf("%d acknowledged visits are missing, must be %d", missing, gone)
	}
	if l, err = j.Ledger(); err != nil {
		s.t.Fatal(err)
	}
	testkit.Check(s.t, l.Check())
	if l.Tail != l.Head || l.Head != srv.heads[l.Journal] {
		s.t.Fatalf("drained, the journal stands at %d and %d, the server at %d", l.Tail.Seq, l.Head.Seq, srv.heads[l.Journal].Seq)
	}
	testkit.Check(s.t, j.Close())
	entries, err := os.ReadDir(s.dir)
	testkit.Check(s.t, err)
	for _, e := range entries {
		switch n := e.Name(); {
		case n == fileName, n == markName, n == lockName, strings.HasPrefix(n, "journal-"):
		default:
			s.t.Fatalf("%s is left over", n)
		}
	}
}

// checkStructure lets bbolt look for faults in the file.
func (s *fixture) checkStructure(j *Journal) {
	s.t.Helper()
	if err := j.view(func(tx *bolt.Tx) error {
		var all []error
		for err := range tx.Check() {
			all = append(all, err)
		}
		return errors.Join(all...)
	}); err != nil {
		s.t.Fatalf("bbolt finds: %v", err)
	}
}

func (s *fixture) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(s.dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}
