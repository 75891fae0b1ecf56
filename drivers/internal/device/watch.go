package device

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Any as the last element of a path that is watched stands for every name.
const Any = "*"

// Watch returns a channel that gets a value soon after something came to path, or changed its owner or permissions, until
// ctx ends: the kernel tells (inotify(7)). Folders on the way may come and go, as /dev/serial/by-id does with its last
// device. One value may stand for several changes, and more may come than there were.
func Watch(ctx context.Context, path string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	w := &watch{file: os.NewFile(uintptr(fd), "inotify"), path: filepath.Clean(path), next: map[int32]string{}, changed: make(chan struct{}, 1)}
	if err := w.arm(); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.file.Close() })
	go func() {
		defer stop()
		w.listen()
	}()
	return w.changed, nil
}

// watch watches one path. All but its channel belongs to the goroutine of listen.
type watch struct {
	file    *os.File
	path    string
	next    map[int32]string // what is looked for in a folder that is watched, by its number
	changed chan struct{}
}

// arm watches every folder on the way that there is.
func (w *watch) arm() error {
	const what = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ATTRIB | unix.IN_ONLYDIR
	for path := w.path; path != filepath.Dir(path); path = filepath.Dir(path) {
		folder := filepath.Dir(path)
		err := Control(w.file, func(fd int) error {
			n, err := unix.InotifyAddWatch(fd, folder, what)
			if err == nil {
				w.next[int32(n)] = filepath.Base(path)
			}
			return err
		})
		if err != nil && folder == "/" {
			return err
		}
	}
	return nil
}

// listen reads events until the file is closed. A folder that came in the meantime is watched before anybody is told, so that
// what comes into it later is not missed, and what is in it already is found by whoever is told.
func (w *watch) listen() {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil || n == 0 {
			return
		}
		if !w.concerned(buf[:n]) {
			continue
		}
		if err := w.arm(); err != nil {
			return
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// concerned tells whether one of the events (struct inotify_event) is about the path, or some were lost.
func (w *watch) concerned(events []byte) (yes bool) {
	for len(events) >= unix.SizeofInotifyEvent {
		number := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		size := min(int(binary.NativeEndian.Uint32(events[12:])), len(events)-unix.SizeofInotifyEvent)
		name := strings.TrimRight(string(events[unix.SizeofInotifyEvent:][:size]), "\x00")
		wanted, watched := w.next[number]
		switch {
		case mask&unix.IN_IGNORED != 0:
			delete(w.next, number)
		case mask&unix.IN_Q_OVERFLOW != 0, watched && name != "" && (wanted == name || wanted == Any):
			yes = true
		}
		events = events[unix.SizeofInotifyEvent+size:]
	}
	return yes
}
