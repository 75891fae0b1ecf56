package token_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSpecExamplesAreVectors reads the examples of SPEC.md – blocks fenced as "vector section/name/field" – and holds each
// against the vector of that name. In hexadecimal, spaces, line ends and remarks after # do not count.
func TestSpecExamplesAreVectors(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?ms)^```vector ([^\n]+)\n(.*?)\n```$").FindAllStringSubmatch(string(spec), -1)
	if len(examples) < 4 {
		t.Fatalf("SPEC.md has %d examples, want at least 4", len(examples))
	}
	for _, e := range examples {
		path := strings.Split(e[1], "/")
		got := e[2]
		if path[len(path)-1] != "text" {
			got = regexp.MustCompile(`#[^\n]*|\s`).ReplaceAllString(got, "")
		}
		if want, ok := lookUp(file, path).(string); !ok || got != want {
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
