package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recording takes note of what a check says instead of failing.
type recording struct {
	testing.TB
	said []string
}

func (*recording) Helper() {}

func (r *recording) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestSpecExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	Check(t, os.Mkdir("testdata", 0o700))
	Check(t, os.WriteFile("testdata/vectors.json", []byte(`{"codes": [{"name": "a b", "raw": "00ff", "text": "x  y"}]}`), 0o600))
	for rule, c := range map[string]struct {
		path, body string
		good       bool
	}{
		"hexadecimal with remarks":    {"codes/a b/raw", "00  # nought\n ff", true},
		"text as it stands":           {"codes/a b/text", "x  y", true},
		"other bytes":                 {"codes/a b/raw", "00fe", false},
		"text with other spaces":      {"codes/a b/text", "x y", false},
		"a vector that is not there":  {"codes/c/raw", "00ff", false},
		"a section that is not there": {"lists/a b/raw", "00ff", false},
	} {
		Check(t, os.WriteFile("SPEC.md", []byte("# Format\n\n```vector "+c.path+"\n"+c.body+"\n```\n"), 0o600))
		r := &recording{TB: t}
		SpecExamples(r, 1)
		if (len(r.said) == 0) != c.good {
			t.Errorf("%s: %s", rule, strings.Join(r.said, "\n"))
		}
	}
	f := &failing{TB: t}
	if !fails(f, func() { SpecExamples(f, 2) }) || !strings.Contains(f.why, "want at least") {
		t.Errorf("too few examples: %q", f.why)
	}
}

func TestCheckVectors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vectors.json")
	CheckVectors(t, file, map[string]int{"a": 1}, true)
	CheckVectors(t, file, map[string]int{"a": 1}, false)
	if got := ReadVectors[struct{ A int }](t, file); got.A != 1 {
		t.Errorf("read back as %+v", got)
	}
	f := &failing{TB: t}
	if !fails(f, func() { CheckVectors(f, file, map[string]int{"a": 2}, false) }) {
		t.Error("a file that differs is accepted")
	}
}
