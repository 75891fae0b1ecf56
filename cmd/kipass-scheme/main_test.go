package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/protocol/token"
)

const goodCard = `{"name":"naver","display":"네이버","url":"https://naver.example.kr","keys":[
	{"public":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=","not_before":"2020-06-01T00:00:00Z","not_after":"2021-06-01T00:00:00Z"}]}`

func scheme(args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	err := run(args, &stdout, &stderr)
	return strings.TrimSpace(stdout.String()), err
}

func TestSignedListShowsWhatTheCardsSay(t *testing.T) {
	dir := t.TempDir()
	root, cardFile, list := filepath.Join(dir, "root"), filepath.Join(dir, "naver.json"), filepath.Join(dir, "list")
	if err := os.WriteFile(cardFile, []byte(goodCard), 0o644); err != nil {
		t.Fatal(err)
	}
	pub, err := scheme("init", "-root", root)
	if err != nil || len(pub) != 44 {
		t.Fatalf("init = %q, %v", pub, err)
	}
	if again, err := scheme("public", "-root", root); err != nil || again != pub {
		t.Errorf("public = %q, %v", again, err)
	}
	if _, err := scheme("sign", "-root", root, "-version", "7", "-o", list, cardFile); err != nil {
		t.Fatal(err)
	}
	text, err := scheme("show", "-public", pub, list)
	if err != nil {
		t.Fatal(err)
	}
	var shown struct {
		Version uint64
		Issuers []token.Card
	}
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatal(err)
	}
	var want token.Card
	if err := json.Unmarshal([]byte(goodCard), &want); err != nil {
		t.Fatal(err)
	}
	if shown.Version != 7 || len(shown.Issuers) != 1 {
		t.Fatalf("shown = %s", text)
	}
	if got := shown.Issuers[0]; got.Name != want.Name || got.Display != want.Display || got.URL != want.URL || len(got.Keys) != 1 || got.Keys[0] != want.Keys[0] {
		t.Errorf("issuer = %+v, want %+v", got, want)
	}
}

func TestSchemeRefuses(t *testing.T) {
	dir := t.TempDir()
	root, other, out := filepath.Join(dir, "root"), filepath.Join(dir, "other"), filepath.Join(dir, "out")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.json", goodCard)
	if _, err := scheme("init", "-root", root); err != nil {
		t.Fatal(err)
	}
	otherPub, err := scheme("init", "-root", other)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "list")
	if _, err := scheme("sign", "-root", root, "-version", "1", "-o", list, good); err != nil {
		t.Fatal(err)
	}
	sign := func(args ...string) []string { return append([]string{"sign", "-root", root, "-o", out}, args...) }
	for name, args := range map[string][]string{
		"making a root key over another":  {"init", "-root", root},
		"no version":                      sign(good),
		"no issuer":                       sign("-version", "1"),
		"one issuer twice":                sign("-version", "1", good, good),
		"a list already expired":          sign("-version", "1", "-valid", "-1s", good),
		"a card with an unknown field":    sign("-version", "1", file("a", strings.Replace(goodCard, `"name"`, `"x":1,"name"`, 1))),
		"a card with bytes after its end": sign("-version", "1", file("b", goodCard+"{}")),
		"a card without keys":             sign("-version", "1", file("c", `{"name":"naver","display":"","url":"","keys":[]}`)),
		"a key that is too short":         sign("-version", "1", file("d", strings.Replace(goodCard, "AQEB", "", 1))),
		"a key that ends first":           sign("-version", "1", file("e", strings.Replace(goodCard, "2021-", "2019-", 1))),
		"showing under another root":      {"show", "-public", otherPub, list},
		"showing without a root":          {"show", list},
		"an unknown command":              {"delete"},
	} {
		if _, err := scheme(args...); err == nil {
			t.Errorf("%s: done", name)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a list was written")
	}
}
