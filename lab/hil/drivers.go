package hil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kipass/kipass/lab/hil/job"
)

// verdict is how the testing package ends a test: with more indentation for a part of one.
var verdict = regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): (.*) \([0-9.]+s\)$`)

// driverTests runs tests of the guest in one machine.
type driverTests struct {
	boot    Boot
	tests   string // regular expression of their names
	without string // of those to leave out; empty for none
	env     []string
	limit   time.Duration
}

func (d driverTests) run(ctx context.Context, r *Result) error {
	d.boot.Job = job.Job{
		Args: []string{"-test.v", "-test.run=" + d.tests, "-test.timeout=" + d.limit.String()}, Env: d.env,
	}
	if d.without != "" {
		d.boot.Job.Args = append(d.boot.Job.Args, "-test.skip="+d.without)
	}
	// The guest's own limit comes first and tells where it hangs.
	ctx, cancel := context.WithTimeout(ctx, d.limit+30*time.Second)
	defer cancel()
	m, err := Start(ctx, d.boot)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(d.boot.Dir, "tests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.kill()
		return err
	}
	defer log.Close()
	w := bufio.NewWriter(log)
	out := &testOutput{result: r}
	for line := range m.Lines() {
		if !out.take(line) {
			_, _ = w.Write(line)
		}
	}
	err = errors.Join(w.Flush(), m.Wait())
	return errors.Join(out.err(), err)
}

// testOutput gathers from a test program's output what becomes of a scenario.
type testOutput struct {
	result *Result
	failed []string
	said   []string // the last lines, which tell why
	done   bool
	exit   int
	words  string // of the machine itself
}

// take reads a line and tells whether it was one of facts.
func (o *testOutput) take(line []byte) bool {
	if f, ok := job.ParseFact(line); ok {
		switch {
		case f.Done:
			o.done, o.exit = true, f.Exit
		case f.Failure != "":
			o.words = f.Failure
		case f.Name != "":
			if o.result.Figures == nil {
				o.result.Figures = map[string]float64{}
			}
			o.result.Figures[f.Name] = f.Value
		}
		return true
	}
	text := strings.TrimRight(string(line), "\r\n")
	if m := verdict.FindStringSubmatch(text); m != nil {
		switch m[2] {
		case "PASS":
			o.result.Passed++
		case "FAIL":
			o.failed = append(o.failed, m[3])
		case "SKIP":
			o.result.Skipped = append(o.result.Skipped, m[3])
		}
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "=== ") {
		if o.said = append(o.said, text); len(o.said) > 25 {
			o.said = o.said[1:]
		}
	}
	return false
}

func (o *testOutput) err() error {
	switch {
	case o.words != "":
		return errors.New(o.words)
	case !o.done:
		return fmt.Errorf("the machine stopped before the tests were over; it said last:\n%s", strings.Join(o.said, "\n"))
	case len(o.failed) > 0 || o.exit != 0:
		return fmt.Errorf("failed: %s\n%s", strings.Join(o.failed, ", "), strings.Join(o.said, "\n"))
	case o.result.Passed == 0:
		return errors.New("no test was run")
	default:
		return nil
	}
}
