package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/internal/cli"
	"github.com/kipass/kipass/internal/cli/clitest"
	"github.com/kipass/kipass/internal/testkit"
)

// An enrolment code that everybody on the device may read is not used; one that is used up is told of.
func TestAnEnrolmentCodeIsKeptFromOthers(t *testing.T) {
	withCode := strings.Replace(goodConfig, "[trust]", "enrolment_code = \"ABCD-EFGH-JKLM-NPQR\"\n[trust]", 1)
	for rule, c := range map[string]struct {
		text  string
		mode  os.FileMode
		taken bool
	}{
		"a code for the owner":           {withCode, 0o600, true},
		"a code for the owner and group": {withCode, 0o640, true},
		"a code for everybody":           {withCode, 0o644, false},
		"no code":                        {goodConfig, 0o644, true},
	} {
		t.Run(rule, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gate.toml")
			testkit.Check(t, os.WriteFile(path, []byte(c.text), 0o600))
			testkit.Check(t, os.Chmod(path, c.mode))
			refused := func(r clitest.Result) bool {
				return r.Status == cli.StatusUsage && strings.Contains(r.Err, "server.enrolment_code") && strings.Contains(r.Err, "chmod 600 "+path)
			}
			if r := clitest.Run(t, newProgram(), "check", "--config", path); refused(r) == c.taken || c.taken != (r.Status == cli.StatusDone) {
				t.Fatalf("check: status %d, %s", r.Status, r.Err)
			}
			if c.taken {
				return
			}
			if r := clitest.Run(t, newProgram(), "run", "--config", path); !refused(r) {
				t.Errorf("run: status %d, %s", r.Status, r.Err)
			}
		})
	}
}

// A gate that has enrolled serves visitors whoever may read its config: the code is used up.
func TestAnEnrolledGateIsNotStoppedForItsCode(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "gate.toml")
	testkit.Check(t, os.WriteFile(path, nil, 0o600))
	testkit.Check(t, os.Chmod(path, 0o644))
	log := slog.New(slog.NewTextHandler(f.log, nil))
	if err := begin(path, f.config, log); err == nil {
		t.Error("it begins before it has enrolled")
	}
	f.ready(f.start())
	testkit.Eventually(t, "in service", func() bool { return f.shows("kipass_gate_in_service 1") })
	testkit.Check(t, f.stop())
	testkit.Check(t, begin(path, f.config, log))
	if f.log.Count("chmod 600 "+path) != 1 {
		t.Error("it is not told of")
	}
	noDisk := f.config
	noDisk.Place.State = "/proc/nothing"
	testkit.Check(t, begin(path, noDisk, log))
	if err := begin(path, configs.Gate{}, log); err != nil {
		t.Errorf("without a code: %v", err)
	}
}
