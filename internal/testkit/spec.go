package testkit

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	specExample = regexp.MustCompile("(?ms)^```vector ([^\n]+)\n(.*?)\n```$")
	specRemark  = regexp.MustCompile(`#[^\n]*|\s`)
	hexadecimal = regexp.MustCompile("^[0-9a-f]*$")
)

// SpecExamples reads the examples of SPEC.md – blocks fenced as "vector section/name/field" – and compares each with the
// vector of that name in testdata/vectors.json. Where that is hexadecimal, spaces, line ends and remarks after # do not
// count; a line feed at the end of a text never does. There must be at least least examples.
func SpecExamples(t testing.TB, least int) {
	t.Helper()
	spec := Must(os.ReadFile("SPEC.md"))(t)
	var file map[string]any
	Check(t, json.Unmarshal(Must(os.ReadFile("testdata/vectors.json"))(t), &file))
	examples := specExample.FindAllStringSubmatch(string(spec), -1)
	if len(examples) < least {
		t.Fatalf("SPEC.md has %d examples, want at least %d", len(examples), least)
	}
	for _, e := range examples {
		want, ok := lookUp(file, strings.Split(e[1], "/")).(string)
		got := e[2]
		if hexadecimal.MatchString(want) {
			got = specRemark.ReplaceAllString(got, "")
		}
		if !ok || got != strings.TrimSuffix(want, "\n") {
			t.Errorf("example %s is\n%s\nthe vector is\n%s", e[1], got, want)
		}
	}
}

// lookUp goes down by field, and in a list by the name of an element.
func lookUp(v any, path []string) any {
	for _, step := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			v = nil
			for _, element := range at {
				if m, ok := element.(map[string]any); ok && m["name"] == step {
					v = m
				}
			}
		}
	}
	return v
}
