package uplink

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/internal/testkit/fakevisits"
)

func TestDamagedIdentityIsSetAside(t *testing.T) {
	server := fakevisits.New(t)
	for _, name := range []string{fileTerminal, fileProvision} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureOf(t, server, 0).enrolled()
			path := filepath.Join(f.dir, name)
			b := testkit.Must(os.ReadFile(path))(t)
			testkit.Check(t, os.WriteFile(path, b[:len(b)/2], 0o600))
			id := f.identity()
			_, _, enrolled := id.Terminal()
			_, provisioned := id.Provision()
			if id.Damage() == nil || enrolled != (name != fileTerminal) || provisioned != (name != fileProvision) {
				t.Errorf("damage %v, enrolled %v, provisioned %v", id.Damage(), enrolled, provisioned)
			}
			if kept, err := os.ReadFile(path + damagedSuffix); err != nil || len(kept) != len(b)/2 {
				t.Errorf("the damaged file was not kept: %v", err)
			}
		})
	}
	t.Run("half written files are cleared away", func(t *testing.T) {
		f := newFixtureOf(t, server, 0).enrolled()
		half := filepath.Join(f.dir, ".new-1")
		testkit.Check(t, os.WriteFile(half, []byte("half"), 0o600))
		f.identity()
		if _, err := os.Stat(half); !os.IsNotExist(err) {
			t.Error("still there")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	f := newFixtureOf(t, fakevisits.New(t), 0)
	f.server.URL = &url.URL{Scheme: "https", Host: serverHost}
	f.enrolled()
	for name, change := range map[string]func(*Options){
		"plain HTTP":         func(opts *Options) { opts.Server = &url.URL{Scheme: "http", Host: "x"} },
		"a user in the URL":  func(opts *Options) { opts.Server = &url.URL{Scheme: "https", Host: "x", User: url.User("a")} },
		"no authority":       func(opts *Options) { opts.CA = nil },
		"no source":          func(opts *Options) { opts.Source = nil },
		"a malformed gate":   func(opts *Options) { opts.Gate = "Door 1" },
		"another gate's key": func(opts *Options) { opts.Gate = "door-2" },
	} {
		opts := f.options()
		change(&opts)
		if u, err := New(opts); err == nil || u != nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := New(f.options()); err != nil {
		t.Errorf("good options are refused: %v", err)
	}
}
