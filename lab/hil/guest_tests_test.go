package hil

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/hil/job"
)

// output returns the lines of a guest's output, facts among them.
func output(t *testing.T, text string, facts ...job.Fact) [][]byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(text)
	for _, f := range facts {
		testkit.Check(t, job.NewEncoder(&b).Encode(f))
	}
	return slices.Collect(bytes.Lines(b.Bytes()))
}

func TestWhatTheGuestSaysIsJudged(t *testing.T) {
	passed := "=== RUN   TestA\n--- PASS: TestA (0.10s)\n    --- PASS: TestA/one (0.05s)\n    --- SKIP: TestA/two (0.00s)\nPASS\n"
	failed := "=== RUN   TestA\n    a_test.go:5: got 1, want 2\n--- FAIL: TestA (0.10s)\nFAIL\n"
	for _, c := range []struct {
		rule  string
		lines [][]byte
		words string // "" when all is well
	}{
		{"all passed", output(t, passed, job.Fact{Name: "ms", Value: 3}, job.Fact{Done: true}), ""},
		{"a test failed", output(t, failed, job.Fact{Done: true, Exit: 1}), "got 1, want 2"},
		{"the program says so although no test does", output(t, passed, job.Fact{Done: true, Exit: 2}), "failed"},
		{"the machine stopped in the middle", output(t, "=== RUN   TestA\npanic: oh\n"), "panic: oh"},
		{"the machine could not begin", output(t, "", job.Fact{Failure: "mounting /sys"}), "mounting /sys"},
		{"nothing was run", output(t, "testing: warning: no tests to run\nPASS\n", job.Fact{Done: true}), "no test was run"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var r Result
			o := &testOutput{result: &r}
			for _, line := range c.lines {
				o.take(line)
			}
			err := o.err()
			if c.words == "" {
				if err != nil || r.Passed != 2 || len(r.Skipped) != 1 || r.Figures["ms"] != 3 {
					t.Errorf("%+v, %v", r, err)
				}
				if o.ended != 1 || o.doing != "TestA" || o.figure != "ms=3" {
					t.Errorf("%d tests ended, under way is %q with %q", o.ended, o.doing, o.figure)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}
