// Package unixpath reaches sockets of the file system whose path is longer than a socket's address may be: 107 bytes on
// Linux (unix(7)). It is of Linux.
package unixpath

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Short returns another path of a file whose folder exists, by way of the folder's descriptor: /proc/self/fd/N/name. It
// holds until release is called, in this process alone.
func Short(path string) (short string, release func() error, err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	folder, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", nil, fmt.Errorf("opening the folder of a socket: %w", err)
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), name), folder.Close, nil
}
