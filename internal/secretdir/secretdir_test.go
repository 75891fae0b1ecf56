package secretdir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestWhereSecretsLie(t *testing.T) {
	creds := t.TempDir()
	testkit.Check(t, os.WriteFile(filepath.Join(creds, "master.key"), nil, 0o600))
	t.Chdir(t.TempDir())
	here := testkit.Must(os.Getwd())(t)
	for _, c := range []struct{ rule, data, given, creds, want string }{
		{"beside the data", "/srv/visits", "", "", "/srv/visits.secrets"},
		{"however it is written", "/srv/visits/", "", "", "/srv/visits.secrets"},
		{"a relative folder", "visits", "", "", here + "/visits.secrets"},
		{"the folder one is in", ".", "", "", here + ".secrets"},
		{"as given", "/srv/visits", "/mnt/keys", creds, "/mnt/keys"},
		{"systemd's credentials", "/srv/visits", "", creds, creds},
		{"credentials that are another's", "/srv/visits", "", here, "/srv/visits.secrets"},
	} {
		t.Setenv(credentials, c.creds)
		if got := Of(c.data, c.given, "master.key"); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
}

func TestSecretsThatNothingProtectsAreToldOf(t *testing.T) {
	data, secrets := t.TempDir(), t.TempDir()
	logger, log := testkit.NewLogger()
	testkit.Check(t, os.WriteFile(filepath.Join(secrets, "master.key"), nil, 0o600))
	testkit.Check(t, Warn(logger, data, secrets))
	if log.Count("one file system") != 1 || log.Count("chmod") != 0 {
		t.Errorf("on one disk: %s", log)
	}
	for _, open := range []os.FileMode{0o644, 0o640, 0o620, 0o601} {
		logger, log = testkit.NewLogger()
		testkit.Check(t, os.Chmod(filepath.Join(secrets, "master.key"), open))
		testkit.Check(t, Warn(logger, data, secrets))
		if log.Count("chmod 600 "+filepath.Join(secrets, "master.key")) != 1 {
			t.Errorf("open to others, %v: %s", open, log)
		}
	}
	if err := Warn(logger, data, filepath.Join(secrets, "missing")); err == nil {
		t.Error("secrets that are not there lie somewhere")
	}
	logger, log = testkit.NewLogger()
	testkit.Check(t, Warn(logger, "/proc", secrets))
	if log.Count("one file system") != 0 {
		t.Errorf("on two disks: %s", log)
	}
}
