package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestFiguresAreJudged(t *testing.T) {
	for rule, c := range map[string]struct {
		figure Figure
		ok     bool
		target string
	}{
		"no target is always reached":            {compared("x", "ms", 1e9, 1, "b", forPeople), true, ""},
		"a size is reached at its bound":         {size("x", "MB", 10, atMost(10, "w")), true, "≤ 10 MB"},
		"a size is missed above":                 {size("x", "MB", 10.001, atMost(10, "w")), false, "≤ 10 MB"},
		"at most is reached at the bound":        {compared("x", "ms", 15, 10, "b", atMost(1.5, "w")), true, "≤ 1.5 × bare"},
		"at most is missed above":                {compared("x", "ms", 15.01, 10, "b", atMost(1.5, "w")), false, "≤ 1.5 × bare"},
		"at least is reached at the bound":       {compared("x", "a/s", 95, 100, "b", atLeast(0.95, "w")), true, "≥ 0.95 × bare"},
		"a ratio is judged before it is rounded": {compared("x", "a/s", 0.9499999, 1, "b", atLeast(0.95, "w")), false, "≥ 0.95 × bare"},
		"nothing to compare with reaches no most": {
			compared("x", "ms", 1, 0, "b", atMost(2, "w")), false, "≤ 2 × bare"},
		"nothing at all reaches no bound": {
			compared("x", "ms", 0, 0, "b", atLeast(2, "w")), false, "≥ 2 × bare"},
	} {
		if c.figure.OK != c.ok || c.figure.Target != c.target {
			t.Errorf("%s: ok %v, target %q; want %v, %q", rule, c.figure.OK, c.figure.Target, c.ok, c.target)
		}
	}
}

func TestRound(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 0.123456: 0.1235, 0.00123456: 0.001235, 1.23456: 1.235, 123.456: 123.5, 123456.7: 123457, -1.23456: -1.235, math.Inf(1): math.Inf(1)} {
		if got := round(in); got != want {
			t.Errorf("round(%v) = %v, want %v", in, got, want)
		}
	}
}

func TestWriteEndsWithOneLineOfJSONPerFigure(t *testing.T) {
	figures := []Figure{
		compared("first", "µs", 44, 40, "a bare check", atMost(1.15, "of the decoding")), size("second", "MB", 12, atMost(10, "flash is small")),
		compared("third", "ms", 1, 4, "a bare write", forPeople),
	}
	var out bytes.Buffer
	if err := Write(&out, figures); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := []string{
		"first: bare is a bare check",
		"first: ≤ 1.15 × bare, because of the decoding",
		"second: ≤ 10 MB, because flash is small",
		"third: bare is a bare write",
		`{"name":"first","ours":44,"bare":40,"ratio":1.1,"unit":"µs","target":"≤ 1.15 × bare","ok":true,"of":"a bare check","why":"of the decoding"}`,
		`{"name":"second","ours":12,"bare":null,"ratio":null,"unit":"MB","target":"≤ 10 MB","ok":false,"of":"","why":"flash is small"}`,
		`{"name":"third","ours":1,"bare":4,"ratio":0.25,"unit":"ms","target":"","ok":true,"of":"a bare write","why":""}`,
	}
	table := lines[:max(0, len(lines)-len(want))]
	if got := lines[len(table):]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, l := range lines[len(lines)-len(figures):] {
		if !json.Valid([]byte(l)) {
			t.Errorf("%s is no JSON", l)
		}
	}
	if len(table) != 1+len(figures) {
		t.Fatalf("table of %d lines for %d figures", len(table), len(figures))
	}
	for i, verdict := range []string{"target", "ok", "MISSED", "–"} {
		if !strings.HasSuffix(strings.TrimSpace(table[i]), verdict) {
			t.Errorf("line %q of the table does not end in %q", table[i], verdict)
		}
	}
}
