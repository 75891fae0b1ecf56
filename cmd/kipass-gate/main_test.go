package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
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

func TestConforms(t *testing.T) { clitest.Conforms(t, newProgram) }

// A config that cannot be used ends the gate with status 2 before it starts, and standard error says why.
func TestConfigIsChecked(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		testkit.Check(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good := file("good.toml", goodConfig)
	for rule, c := range map[string]struct {
		args     []string
		status   int
		out, err string // what the output holds, "" for nothing
	}{
		"a good config is ok":                     {[]string{"check", "--config", good}, 0, good + ": ok", ""},
		"a missing config is said to be":          {[]string{"check", "--config", filepath.Join(dir, "none.toml")}, 2, "", "none.toml"},
		"and so before it starts":                 {[]string{"run", "--config", filepath.Join(dir, "none.toml")}, 2, "", "copy the example"},
		"a folder is no config":                   {[]string{"check", "--config", dir}, 2, "", "is not a regular file"},
		"a wrong key is named with its line":      {[]string{"check", "--config", file("key.toml", goodConfig+"buad = 9600\n")}, 2, "", `key.toml:12: reader[0].buad: there is no such key; did you mean "baud"?`},
		"a wrong config does not start":           {[]string{"run", "--config", file("no.toml", strings.Replace(goodConfig, "https", "http", 1))}, 2, "", "server.url"},
		"files the config names are looked at":    {[]string{"check", "--config", file("ca.toml", strings.Replace(goodConfig, "[trust]", "ca = \"none.pem\"\n[trust]", 1))}, 2, "", "server.ca"},
		"what a driver cannot do is found":        {[]string{"check", "--config", file("host.toml", goodConfig+"trigger = \"host\"\n")}, 2, "", "no trigger command is known for model generic"},
		"clips that are no recordings are too":    {[]string{"check", "--config", file("clips.toml", goodConfig+"[speaker]\nclips = \""+badClips(t)+"\"\n")}, 2, "", "ko/admitted"},
		"a runtime folder on a disk is refused":   {[]string{"check", "--config", file("runtime.toml", strings.Replace(goodConfig, "[server]", "runtime = \"/proc/self\"\n[server]", 1))}, 2, "", "gate.runtime: folder /proc/self lies on a disk"},
		"a check makes nothing and opens nothing": {[]string{"check", "--config", file("state.toml", strings.Replace(goodConfig, "[server]", "state = \"made\"\n[server]", 1))}, 0, "ok", ""},
	} {
		t.Run(rule, func(t *testing.T) {
			r := clitest.Run(t, newProgram(), c.args...)
			if r.Status != c.status {
				t.Errorf("status %d, want %d", r.Status, c.status)
			}
			for _, o := range []struct{ name, got, want string }{{"output", r.Out, c.out}, {"errors", r.Err, c.err}} {
				if !strings.Contains(o.got, o.want) || o.want == "" && o.got != "" {
					t.Errorf("%s %q, want %q", o.name, o.got, o.want)
				}
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		t.Error("check made the folder of the gate's state")
	}
}

// badClips returns a folder with a recording that is none.
func badClips(t *testing.T) string {
	dir := t.TempDir()
	testkit.Check(t, os.Mkdir(filepath.Join(dir, "ko"), 0o700))
	testkit.Check(t, os.WriteFile(filepath.Join(dir, "ko", "admitted.wav"), []byte("not a recording"), 0o600))
	return dir
}
