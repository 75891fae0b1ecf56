// Package secretfile reads files that hold a secret, and refuses those that every user of the machine may read or replace.
// What a group may do with one is its owner's decision: a service often reads what root has put there for it.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrOpen is wrapped by the error of a file that others may read or write.
var ErrOpen = errors.New("it holds a secret, and every user of this machine may read or replace it")

const others fs.FileMode = 0o006

// Read returns a file's content. Its error names the file, and what to do.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return text, nil
}

// Check says whether Read would refuse a file for its mode.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return check(path, info)
}

func check(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("%s: %w (mode %#o): chmod 600 %s", path, ErrOpen, uint32(mode), path)
	}
	return nil
}
