package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodConfig = `version = 1
[gate]
facility = "cafe-7"
name = "door-1"
[server]
url = "https://visits.example.kr"
[trust]
root = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
[[reader]]
name = "front"
device = "/dev/ttyACM0"
`

// The command line answers with status 0 when it has done what was asked, 2 when it was asked wrongly, and says why
// where people look: answers on standard output, complaints on standard error.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.toml", goodConfig)
	for rule, c := range map[string]struct {
		args     []string
		status   int
		out, err string // what the output holds, "" for nothing
	}{
		"help is an answer":                      {[]string{"--help"}, 0, "", "kipass-gate -config gate.toml"},
		"the version is told":                    {[]string{"-version"}, 0, "kipass-gate " + version, ""},
		"an unknown flag is refused":             {[]string{"-chekc"}, 2, "", "-chekc"},
		"an argument nobody asked for":           {[]string{"gate.toml"}, 2, "", `unexpected argument "gate.toml"`},
		"a good config is ok":                    {[]string{"-config", good, "-check"}, 0, good + ": ok", ""},
		"a missing config is said to be":         {[]string{"-config", filepath.Join(dir, "none.toml"), "-check"}, 2, "", "none.toml"},
		"and so without -check":                  {[]string{"-config", filepath.Join(dir, "none.toml")}, 2, "", "copy the example"},
		"a folder is no config":                  {[]string{"-config", dir, "-check"}, 2, "", "is not a regular file"},
		"a wrong key is named with its line":     {[]string{"-config", file("key.toml", goodConfig+"buad = 9600\n"), "-check"}, 2, "", `key.toml:12: reader[0].buad: there is no such key; did you mean "baud"?`},
		"a wrong config does not start":          {[]string{"-config", file("no.toml", strings.Replace(goodConfig, "https", "http", 1))}, 2, "", "server.url"},
		"files the config names are looked at":   {[]string{"-config", file("ca.toml", strings.Replace(goodConfig, "[trust]", "ca = \"none.pem\"\n[trust]", 1)), "-check"}, 2, "", "server.ca"},
		"what a driver cannot do is found":       {[]string{"-config", file("host.toml", goodConfig+"trigger = \"host\"\n"), "-check"}, 2, "", "no trigger command is known for model generic"},
		"clips that are no recordings are too":   {[]string{"-config", file("clips.toml", goodConfig+"[speaker]\nclips = \""+badClips(t)+"\"\n"), "-check"}, 2, "", "ko/admitted"},
		"-check makes nothing and opens nothing": {[]string{"-config", file("state.toml", strings.Replace(goodConfig, "[server]", "state = \"made\"\n[server]", 1)), "-check"}, 0, "ok", ""},
	} {
		t.Run(rule, func(t *testing.T) {
			var out, errs bytes.Buffer
			if status := run(t.Context(), c.args, &out, &errs); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, o := range []struct{ name, got, want string }{{"output", out.String(), c.out}, {"errors", errs.String(), c.err}} {
				if !strings.Contains(o.got, o.want) || o.want == "" && o.got != "" {
					t.Errorf("%s %q, want %q", o.name, o.got, o.want)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		t.Error("-check made the folder of the gate's state")
	}
}

// badClips returns a folder with a recording that is none.
func badClips(t *testing.T) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "ko"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ko", "admitted.wav"), []byte("not a recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
