// Package secretdir says where a server's secrets lie: never in the folder of its data, so that a copy of the data – a
// backup, a stolen disk, a snapshot – is of no use without them.
package secretdir

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// credentials names the folder in which systemd hands a service its credentials (systemd.exec(5), LoadCredential=).
const credentials = "CREDENTIALS_DIRECTORY"

// Of returns the folder of the secrets that belong to the data in a folder: the one that is given; without one systemd's
// folder of credentials, if it holds the file marker; and else the folder beside the data that is called like it, with
// ".secrets" behind.
func Of(data, given, marker string) string {
	if given != "" {
		return given
	}
	if dir := os.Getenv(credentials); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, marker)); err == nil {
			return dir
		}
	}
	if path, err := filepath.Abs(data); err == nil {
		data = path
	}
	return filepath.Clean(data) + ".secrets"
}

// Shared reports whether two folders lie on one file system: whoever takes the disk with the data then has the secrets.
func Shared(data, secrets string) (bool, error) {
	var a, b unix.Stat_t
	for path, st := range map[string]*unix.Stat_t{data: &a, secrets: &b} {
		if err := unix.Stat(path, st); err != nil {
			return false, fmt.Errorf("looking where %s lies: %w", path, err)
		}
	}
	return a.Dev == b.Dev, nil
}

// Warn tells in the log what does not protect the secrets: that they lie on one file system with the data, or that others
// than their owner may read them.
func Warn(log *slog.Logger, data, secrets string) error {
	shared, err := Shared(data, secrets)
	if err != nil {
		return err
	}
	if shared {
		log.Warn("the secrets lie on one file system with the data: whoever takes the disk has both; move them and name them with --secrets, "+
			"or hand them over as systemd credentials", "path", secrets)
	}
	entries, err := os.ReadDir(secrets)
	if err != nil {
		return fmt.Errorf("looking at the secrets: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("looking at the secrets: %w", err)
		}
		if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			path := filepath.Join(secrets, e.Name())
			log.Warn("others may read a secret: chmod 600 "+path, "path", path)
		}
	}
	return nil
}
