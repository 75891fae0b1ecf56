package chain

import (
	"bytes"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/labfault"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

func TestParseClock(t *testing.T) {
	for text, want := range map[string]ClockFault{
		"":                     {},
		"gate+9h":              {Party: "gate", Shift: 9 * time.Hour},
		"gate-40s@5s":          {Party: "gate", Shift: -40 * time.Second, After: 5 * time.Second},
		"gate+40s/battery":     {Party: "gate", Shift: 40 * time.Second, Source: "battery"},
		"gate+1h30m@1m/kernel": {Party: "gate", Shift: 90 * time.Minute, After: time.Minute, Source: "kernel"},
		"visits-10m@5s":        {Party: "visits", Shift: -10 * time.Minute, After: 5 * time.Second},
	} {
		if got, err := ParseClock(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"gate", "gate9h", "issuer+9h", "gate+9x", "gate+h", "gate+9h@", "gate+9h/ntp", "visits+9h/battery", " gate+9h", "gate+9h "} {
		if f, err := ParseClock(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	for _, opts := range []Options{{Clock: "soon"}, {Disk: "wet"}, {Reader: "blind"}, {Scans: 2, Disk: "eio"}} {
		if _, err := Run(t.Context(), opts); err == nil || strings.Contains(err.Error(), "data and logs") {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

// Every two levels of two kinds of trouble meet in a combination, and no combination is there twice.
func TestCombinations(t *testing.T) {
	all := combinations()
	if len(all) < 40 {
		t.Errorf("%d combinations, want 40 at least", len(all))
	}
	of := levels()
	for k := range of {
		for o := range k {
			for i := range of[k] {
				for j := range of[o] {
					if !slices.ContainsFunc(all, func(c combination) bool { return c[k] == i && c[o] == j }) {
						t.Errorf("kind %d at level %d never meets kind %d at level %d", k, i, o, j)
					}
				}
			}
		}
	}
	seen := map[string]bool{}
	for _, c := range all {
		if err := c.options().check(); err != nil || seen[c.String()] {
			t.Errorf("%s: %v, seen before %v", c, err, seen[c.String()])
		}
		seen[c.String()] = true
	}
}

func TestMatrixSummaryErr(t *testing.T) {
	good := Summary{Green: 3, Opened: 3, Truth: 3}
	for what, c := range map[string]struct {
		change func(*MatrixSummary)
		bad    bool
	}{
		"good":             {func(*MatrixSummary) {}, false},
		"a failed run":     {func(m *MatrixSummary) { m.add(good, os.ErrInvalid) }, true},
		"one not begun":    {func(m *MatrixSummary) { m.Undone = 1 }, true},
		"an unopened one":  {func(m *MatrixSummary) { m.Opened-- }, true},
		"a late green":     {func(m *MatrixSummary) { m.LateGreen++ }, true},
		"one not run":      {func(m *MatrixSummary) { m.Combinations++ }, true},
		"nobody green":     {func(m *MatrixSummary) { m.Green = 0 }, true},
		"a lost visit":     {func(m *MatrixSummary) { m.Lost++ }, true},
		"a false green":    {func(m *MatrixSummary) { m.FalseGreen++ }, true},
		"a visit repeated": {func(m *MatrixSummary) { m.Duplicated++ }, true},
	} {
		m := MatrixSummary{Combinations: 1}
		m.add(good, nil)
		c.change(&m)
		if err := m.Err(); (err != nil) != c.bad {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a reader puts around a code varies, and the code stays whole.
func TestHabits(t *testing.T) {
	for name, h := range habits {
		if !slices.Contains(ReaderHabits, name) {
			t.Errorf("%s cannot be asked for", name)
		}
		rng, dressed := mathrand.New(mathrand.NewPCG(1, 1)), map[string]bool{}
		for range 5000 {
			frame := h.dress("KIP1:ABC", rng)
			dressed[frame] = true
			if !strings.Contains(frame, "KIP1:ABC") || !strings.HasSuffix(frame, "\r") && !strings.HasSuffix(frame, "\n") {
				t.Errorf("%s sends %q", name, frame)
			}
		}
		if want := (len(h.before) + 1) * (len(h.after) + 1) * len(endings); len(dressed) != want {
			t.Errorf("%s: %d frames, want %d", name, len(dressed), want)
		}
	}
}

// A green is late by the lab's own eyes, less the time in which these were shut.
func TestLateGreensAreCounted(t *testing.T) {
	for _, c := range []struct {
		rule    string
		after   time.Duration
		delayed time.Duration
		outcome visit.Outcome
		late    int
	}{
		{"in time", greenLimit, 0, visit.Admitted, 0},
		{"late", greenLimit + time.Millisecond, 0, visit.Admitted, 1},
		{"late again is late", greenLimit + time.Millisecond, 0, visit.AdmittedAgain, 1},
		{"a refusal is never late", time.Minute, 0, visit.OutOfService, 0},
		{"the lab was held up", greenLimit + time.Second, time.Second, visit.Admitted, 0},
		{"though not for so long", greenLimit + 2*time.Second, time.Second, visit.Admitted, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			one := func() int { return 1 }
			d := &door{viewer: newViewer("", one), truth: newTruth(), generation: one, delays: &delays{}}
			d.viewer.at = 1
			go func() {
				time.Sleep(c.after)
				d.delays.mu.Lock()
				d.delays.total = c.delayed
				d.delays.mu.Unlock()
				d.viewer.outcomes <- seen{c.outcome, time.Now()}
			}()
			p, err := d.present(t.Context(), presentation{send: func() error { return nil }})
			if err != nil || len(p.outcomes) != 1 || p.outcomes[0] != c.outcome || d.truth.lateGreen != c.late {
				t.Errorf("%s: %v, %d late, %v", c.rule, p.outcomes, d.truth.lateGreen, err)
			}
		})
	}
}

// A program that is shipped holds nothing of what the lab breaks; one built for the lab does.
func TestShippedProgramsCannotBeBroken(t *testing.T) {
	shipped, broken := programs(t), labPrograms(t)
	for _, name := range []string{"kipass-gate", "kipass-visits", "kipass-issuer", "kipass-inquiry", "kipass-scheme"} {
		whole := testkit.Must(os.ReadFile(filepath.Join(shipped, name)))(t)
		if bytes.Contains(whole, []byte(labfault.Variable)) || bytes.Contains(whole, []byte("internal/labfault")) {
			t.Errorf("%s can be broken", name)
		}
		deps := testkit.Must(exec.Command("go", "list", "-deps", "../../cmd/"+name).Output())(t)
		if bytes.Contains(deps, []byte("internal/labfault")) {
			t.Errorf("%s is built of internal/labfault", name)
		}
	}
	for _, name := range []string{"kipass-gate", "kipass-visits"} {
		whole := testkit.Must(os.ReadFile(filepath.Join(broken, name)))(t)
		if !bytes.Contains(whole, []byte(labfault.Variable)) || !bytes.Contains(whole, []byte("internal/labfault")) {
			t.Errorf("the lab's own %s cannot be broken, or this test looks for the wrong thing", name)
		}
	}
	_, err := Run(t.Context(), Options{Bin: shipped, Dir: t.TempDir(), Scans: 3, Clock: "gate+9h"})
	if err == nil || !strings.Contains(err.Error(), "was not built for the lab") {
		t.Errorf("a shipped gate's clock: %v", err)
	}
}
