package issuer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/internal/testkit"
)

// Whatever step of making an issuer is interrupted, it is made by repeating it, and never made over one that is there.
func TestInitIsRepeatedAfterAnInterruption(t *testing.T) {
	about := About{Name: "naver", Hosts: []string{"127.0.0.1"}}
	testkit.EachCrash(t, 39, func() (func(durable.Disk) error, func(string)) {
		dir := t.TempDir()
		data, secrets := filepath.Join(dir, "data"), filepath.Join(dir, "secrets")
		create := func(disk durable.Disk) error { return initialise(data, secrets, about, noon, disk) }
		return create, func(fault string) {
			if err := create(durable.Disk{}); err != nil && !strings.Contains(err.Error(), "has an issuer") {
				t.Errorf("%s, repeated: %v", fault, err)
			}
			if told, err := Describe(data, "", noon); err != nil || len(told.Keys) != 1 {
				t.Errorf("%s: no issuer was made: %+v, %v", fault, told, err)
			}
			if err := create(durable.Disk{}); err == nil {
				t.Errorf("%s: made over an issuer", fault)
			}
		}
	})
}

func TestTheSecretsOfAnIssuerAreNotShared(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	testkit.Check(t, os.Mkdir(secrets, 0o700))
	master := bytes.Repeat([]byte{7}, 32) // as a key management system would put it there
	testkit.Check(t, os.WriteFile(filepath.Join(secrets, masterFile), master, 0o600))
	testkit.Check(t, Init(filepath.Join(dir, "naver"), secrets, About{Name: "naver", Hosts: []string{"h"}}, noon))
	if got := testkit.Must(os.ReadFile(filepath.Join(secrets, masterFile)))(t); !bytes.Equal(got, master) {
		t.Error("the master key that was there was made anew")
	}
	// A folder that holds the signing key alone, from half a backup, holds an issuer's secrets too.
	for _, name := range []string{logKeyFile, caKeyFile} {
		testkit.Check(t, os.Remove(filepath.Join(secrets, name)))
	}
	signing := testkit.Must(fs.Glob(os.DirFS(secrets), privatePattern))(t)
	before := testkit.Must(os.ReadFile(filepath.Join(secrets, signing[0])))(t)
	if err := Init(filepath.Join(dir, "pass"), secrets, About{Name: "pass", Hosts: []string{"h"}}, noon); err == nil || !strings.Contains(err.Error(), "--secrets") {
		t.Errorf("two issuers share their secrets: %v", err)
	}
	if after := testkit.Must(os.ReadFile(filepath.Join(secrets, signing[0])))(t); !bytes.Equal(before, after) {
		t.Error("the signing key was made anew")
	}
}

// None of an issuer's secrets is read while everybody on the machine may read it.
func TestSecretsThatAreOpenAreNotRead(t *testing.T) {
	dir := t.TempDir()
	data, secrets := filepath.Join(dir, "data"), filepath.Join(dir, "secrets")
	testkit.Check(t, Init(data, secrets, About{Name: "naver", Hosts: []string{"h"}}, noon))
	entries := testkit.Must(os.ReadDir(secrets))(t)
	if len(entries) != 4 {
		t.Fatalf("%d secrets, want master key, signing key, and those of TLS and the audit log", len(entries))
	}
	try := func() error {
		i, err := Open(data, secrets, Options{})
		if err != nil {
			return err
		}
		return i.Close()
	}
	testkit.Check(t, try())
	for _, e := range entries {
		path := filepath.Join(secrets, e.Name())
		testkit.Check(t, os.Chmod(path, 0o644))
		if err := try(); !errors.Is(err, secretfile.ErrOpen) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%s: %v", e.Name(), err)
		}
		testkit.Check(t, os.Chmod(path, 0o600))
	}
}
