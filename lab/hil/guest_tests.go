package hil

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/kipass/kipass/lab/hil/guest"
	"github.com/kipass/kipass/lab/hil/job"
)

// verdict is how the testing package ends a test: with more indentation for a part of one.
var verdict = regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): (.*) \([0-9.]+s\)$`)

// hungAfter ends a scenario, or one boot of a machine, that hangs. Nothing that passes comes near it, on a busy host either.
const hungAfter = time.Hour

// guestTests runs tests of the guest in one machine.
type guestTests struct {
	boot     Boot
	tests    string // regular expression of their names
	without  string // of those to leave out; empty for none
	env      []string
	progress func(done, total int, doing string)
}

func (g guestTests) run(ctx context.Context, r *Result) error {
	names, err := g.names(ctx)
	if err != nil {
		return err
	}
	g.boot.Job = job.Job{Args: []string{"-test.v", "-test.timeout=" + hungAfter.String(), "-test.run=" + g.tests}, Env: g.env}
	if g.without != "" {
		g.boot.Job.Args = append(g.boot.Job.Args, "-test.skip="+g.without)
	}
	// The guest's own limit comes first, as a rule, and tells where it hangs.
	ctx, cancel := context.WithTimeout(ctx, hungAfter+time.Minute)
	defer cancel()
	m, err := Start(ctx, g.boot)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(g.boot.Dir, "tests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
		g.progress(out.ended, len(names), strings.TrimSpace(out.doing+" "+out.figure))
	}
	err = errors.Join(w.Flush(), m.Wait())
	return errors.Join(out.err(), err)
}

// names returns the tests there are to run.
func (g guestTests) names(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, g.boot.Guest, "-test.list="+g.tests)
	cmd.Env = append(os.Environ(), guest.Mark+"=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking the guest for its tests: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// testOutput gathers from a test program's output what becomes of a scenario.
type testOutput struct {
	result *Result
	doing  string // the test under way, with its parts
	figure string // the last that was reported, for example "serial_unplugs=57"
	ended  int    // tests that are over, their parts not counted
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
			o.figure = fmt.Sprintf("%s=%.4g", f.Name, f.Value)
		}
		return true
	}
	text := strings.TrimRight(string(line), "\r\n")
	if name, ok := strings.CutPrefix(text, "=== RUN   "); ok {
		o.doing = name
	}
	if m := verdict.FindStringSubmatch(text); m != nil {
		if m[1] == "" {
			o.ended++
		}
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
