package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	for rule, c := range map[string]struct {
		figure Figure
		ok     bool
		target string
	}{
		"no target is always reached":               {absolute("x", "ms", 1e9), true, ""},
		"at most is reached at the bound":           {absolute("x", "ms", 10, atMost(ours, 10)), true, "≤ 10 ms"},
		"at most is missed above":                   {absolute("x", "ms", 10.001, atMost(ours, 10)), false, "≤ 10 ms"},
		"at least is reached at the bound":          {absolute("x", "a/s", 25000, atLeast(ours, 25000)), true, "≥ 25000 a/s"},
		"at least is missed below":                  {absolute("x", "a/s", 24999, atLeast(ours, 25000)), false, "≥ 25000 a/s"},
		"a ratio is ours over bare":                 {compared("x", "a/s", 95, 100, atLeast(ratio, 0.95)), true, "≥ 0.95 × bare"},
		"a ratio is judged before it is rounded":    {compared("x", "a/s", 0.9499999, 1, atLeast(ratio, 0.95)), false, "≥ 0.95 × bare"},
		"a ratio without a bare limit is missed":    {absolute("x", "a/s", 95, atLeast(ratio, 0.95)), false, "≥ 0.95 × bare"},
		"of several targets all must be reached":    {compared("x", "a/s", 30, 100, atLeast(ours, 20), atLeast(ratio, 0.8)), false, "≥ 20 a/s and ≥ 0.8 × bare"},
		"the first of several counts as the last":   {compared("x", "a/s", 30, 30, atLeast(ours, 40), atLeast(ratio, 0.8)), false, "≥ 40 a/s and ≥ 0.8 × bare"},
		"several targets that are reached are well": {compared("x", "a/s", 90, 100, atLeast(ours, 20), atLeast(ratio, 0.8)), true, "≥ 20 a/s and ≥ 0.8 × bare"},
	} {
		if c.figure.OK != c.ok || c.figure.Target != c.target {
			t.Errorf("%s: ok %v, target %q; want %v, %q", rule, c.figure.OK, c.figure.Target, c.ok, c.target)
		}
	}
}

func TestRound(t *testing.T) {
	for in, want := range map[float64]float64{0: 0, 0.123456: 0.1235, 0.00123456: 0.001235, 1.23456: 1.235, 123.456: 123.5, 123456.7: 123457, -1.23456: -1.235} {
		if got := round(in); got != want {
			t.Errorf("round(%v) = %v, want %v", in, got, want)
		}
	}
}

func TestWriteEndsWithOneLineOfJSONPerFigure(t *testing.T) {
	figures := []Figure{compared("first", "µs", 44, 40, atMost(ratio, 1.15)), absolute("second", "ms", 12, atMost(ours, 10)), absolute("third", "ms", 1)}
	var out bytes.Buffer
	if err := Write(&out, figures); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, want := range []string{
		`{"name":"first","ours":44,"limit":40,"ratio":1.1,"unit":"µs","target":"≤ 1.15 × bare","ok":true}`,
		`{"name":"second","ours":12,"limit":null,"ratio":null,"unit":"ms","target":"≤ 10 ms","ok":false}`,
		`{"name":"third","ours":1,"limit":null,"ratio":null,"unit":"ms","target":"","ok":true}`,
	} {
		got := lines[len(lines)-len(figures)+i]
		if got != want || !json.Valid([]byte(got)) {
			t.Errorf("line %s, want %s", got, want)
		}
	}
	table := lines[:len(lines)-len(figures)]
	if len(table) != 1+len(figures) {
		t.Fatalf("table of %d lines for %d figures", len(table), len(figures))
	}
	for i, verdict := range []string{"target", "ok", "MISSED", "–"} {
		if !strings.HasSuffix(strings.TrimSpace(table[i]), verdict) {
			t.Errorf("line %q of the table does not end in %q", table[i], verdict)
		}
	}
}
