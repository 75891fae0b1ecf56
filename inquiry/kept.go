package inquiry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// Answers are kept as they came, encrypted to the order, one file each: visits-RUN.age and issuer-NAME-RUN-QUESTION.age.
// Runs count from 1.
var (
	visitsName = regexp.MustCompile(`^visits-(\d+)\.age$`)
	issuerName = regexp.MustCompile(`^issuer-(.+)-\d+-\d+\.age$`)
)

func (x *execution) visitsPath() string {
	return filepath.Join(x.dir, fmt.Sprintf("visits-%d.age", x.run))
}

func (x *execution) issuerPath(issuer string, question int) string {
	return filepath.Join(x.dir, fmt.Sprintf("issuer-%s-%d-%d.age", issuer, x.run, question))
}

// nextRun returns the number of a run that has kept nothing yet.
func nextRun(dir string) (int, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("reading the order's folder: %w", err)
	}
	run := 1
	for _, f := range files {
		if m := visitsName.FindStringSubmatch(f.Name()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return 0, fmt.Errorf("answer %s in the order's folder: %w", f.Name(), err)
			}
			run = max(run, n+1)
		}
	}
	return run, nil
}

// keep fetches an answer and keeps it as it came, if open believes it.
func keep[T any](path string, fetch func() ([]byte, error), open func(sealed []byte) (T, error)) (T, error) {
	var none T
	sealed, err := fetch()
	if err != nil {
		return none, err
	}
	answer, err := open(sealed)
	if err != nil {
		return none, err
	}
	if err := (durable.Disk{}).Replace(path, sealed, 0o600); err != nil {
		return none, fmt.Errorf("keeping its answer: %w", err)
	}
	return answer, nil
}

// recall completes the share of an issuer that cannot be asked, or not for everything, by what it answered to earlier runs.
func (x *execution) recall(s *share) error {
	open := map[visit.CTI]bool{}
	for _, c := range s.codes {
		open[c] = true
	}
	for _, h := range s.holders {
		delete(open, h.CTI)
	}
	for _, c := range s.unopened {
		delete(open, c)
	}
	files, err := os.ReadDir(x.dir)
	if err != nil {
		return fmt.Errorf("reading the order's folder: %w", err)
	}
	for _, f := range files {
		if m := issuerName.FindStringSubmatch(f.Name()); m == nil || m[1] != s.issuer {
			continue
		}
		sealed, err := os.ReadFile(filepath.Join(x.dir, f.Name()))
		if err != nil {
			return fmt.Errorf("reading an earlier answer: %w", err)
		}
		a, err := order.OpenIssuerAnswer(sealed, x.identity)
		if err != nil {
			return fmt.Errorf("reading %s: %w", f.Name(), err)
		}
		for _, h := range a.Holders {
			if !open[h.CTI] {
				continue
			}
			delete(open, h.CTI)
			s.holders = append(s.holders, h)
			if !slices.Contains(s.entries, a.Entry) {
				s.entries = append(s.entries, a.Entry)
			}
		}
	}
	return nil
}

// recallAll completes all shares that could not be asked.
func (x *execution) recallAll(shares []*share) error {
	var all []error
	for _, s := range shares {
		if s.err != nil {
			all = append(all, x.recall(s))
		}
	}
	return errors.Join(all...)
}
