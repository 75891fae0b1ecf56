package hil

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Result is what came of one scenario.
type Result struct {
	Name    string             `json:"name"`
	OK      bool               `json:"ok"`
	Seconds float64            `json:"seconds"`
	Passed  int                `json:"passed"`            // checks
	Skipped []string           `json:"skipped,omitempty"` // checks that the scenario has no use for, or could not make
	Figures map[string]float64 `json:"figures,omitempty"`
	Failure string             `json:"failure,omitempty"`
	Logs    string             `json:"logs,omitempty"` // folder of what the machine said, kept after a failure
}

// Summary is what came of a run.
type Summary struct {
	OK        bool     `json:"ok"`
	Seconds   float64  `json:"seconds"`
	Kernel    string   `json:"kernel"` // its release
	Scenarios []Result `json:"scenarios"`
}

// row writes one scenario's line of the table.
func (r Result) row(out io.Writer) {
	verdict := "통과 / ok"
	if !r.OK {
		verdict = "실패 / FAILED"
	}
	fmt.Fprintf(out, "%-14s %-14s %6.1fs  %3d checks  %s\n", r.Name, verdict, r.Seconds, r.Passed, r.figures())
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "%-14s skipped: %s\n", "", strings.Join(r.Skipped, "; "))
	}
	if r.Failure != "" {
		fmt.Fprintf(out, "%s\n", indent(r.Failure))
	}
	if r.Logs != "" {
		fmt.Fprintf(out, "    기록 / logs: %s\n", r.Logs)
	}
}

func (r Result) figures() string {
	var cells []string
	for name, value := range r.Figures {
		cells = append(cells, fmt.Sprintf("%s=%.4g", name, value))
	}
	slices.Sort(cells)
	return strings.Join(cells, " ")
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

func seconds(since time.Time) float64 { return float64(time.Since(since).Milliseconds()) / 1000 }
