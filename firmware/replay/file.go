package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a set that outlasts its program.
type Options struct {
	Dir    string               // in memory: on tmpfs or ramfs
	Name   string               // of the file, which tells the gates of one machine apart
	Uptime func() time.Duration // since the machine was started; default CLOCK_BOOTTIME

	volatile func(dir string) error // whether a folder lies in memory alone
}

func (opts *Options) setDefaults() {
	if opts.Uptime == nil {
		opts.Uptime = uptime
	}
	if opts.volatile == nil {
		opts.volatile = Volatile
	}
}

func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // every Linux since 2.6.39 has this clock; without it nothing would be forgotten but by Claim's time
	}
	return time.Duration(ts.Nano())
}

// Volatile returns an error unless dir lies in memory alone, on tmpfs or ramfs, so that nothing in it reaches a disk.
func Volatile(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	if kind := uint32(st.Type); kind != unix.TMPFS_MAGIC && kind != unix.RAMFS_MAGIC {
		return fmt.Errorf("folder %s lies on a disk; it must lie in memory, on tmpfs or ramfs, as /run does", dir)
	}
	return nil
}

// The file is a header – magic, key of the digests, zeros – and behind it records of equal size: a digest and the uptime
// in milliseconds of its admission, big-endian. Header and records divide a page, so that a write of one is never torn
// by the end of the program.
const (
	magic      = "kipass replay 1\n"
	headerSize = 64
	recordSize = 32
	keptFor    = 90 * time.Second // longer than a code can be fresh under any trusted clock
)

type record struct {
	digest digest
	at     uint64 // milliseconds of uptime
}

// file is the part of a set that outlasts the program.
type file struct {
	path   string
	key    [32]byte
	uptime func() time.Duration
	f      *os.File
	kept   []record // what it holds, oldest first
}

// openFile opens or makes the file and returns what in it is still to be remembered. A new one gets the key fresh.
func openFile(opts Options, fresh [32]byte) (*file, []record, error) {
	f := &file{path: filepath.Join(opts.Dir, opts.Name+".replay"), key: fresh, uptime: opts.Uptime}
	raw, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if len(raw) >= headerSize && bytes.HasPrefix(raw, []byte(magic)) {
		copy(f.key[:], raw[len(magic):])
		for raw = raw[headerSize:]; len(raw) >= recordSize; raw = raw[recordSize:] {
			r := record{at: binary.BigEndian.Uint64(raw[len(digest{}):])}
			copy(r.digest[:], raw)
			f.kept = append(f.kept, r)
		}
	}
	f.drop()
	if err := f.write(); err != nil {
		return nil, nil, err
	}
	return f, f.kept, nil
}

// age is how long ago a record was made.
func (f *file) age(r record) time.Duration {
	return max(0, f.uptime()-time.Duration(r.at)*time.Millisecond)
}

// drop takes out of kept what is past its time.
func (f *file) drop() (n int) {
	for n < len(f.kept) && (f.age(f.kept[n]) >= keptFor || len(f.kept)-n > maxClaims) {
		n++
	}
	f.kept = append([]record(nil), f.kept[n:]...)
	return n
}

func (f *file) add(d digest) error {
	r := record{digest: d, at: uint64(f.uptime() / time.Millisecond)}
	f.kept = append(f.kept, r)
	if f.f == nil {
		return f.write()
	}
	if _, err := f.f.Write(r.append(nil)); err != nil {
		return errors.Join(fmt.Errorf("remembering codes: %w", err), f.close())
	}
	return nil
}

func (r record) append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(append(b, r.digest[:]...), r.at)
}

// sweep writes the file anew without what is past its time.
func (f *file) sweep() error {
	if f.drop() == 0 && f.f != nil {
		return nil
	}
	return f.write()
}

// write puts a new file with what is kept in the old one's place.
func (f *file) write() error {
	err := f.close()
	fresh := f.path + ".new"
	b := append(append(make([]byte, 0, headerSize+recordSize*len(f.kept)), magic...), f.key[:]...)
	b = append(b, make([]byte, headerSize-len(b))...)
	for _, r := range f.kept {
		b = r.append(b)
	}
	if err == nil {
		err = os.WriteFile(fresh, b, 0o600)
	}
	if err == nil {
		err = os.Rename(fresh, f.path)
	}
	if err == nil {
		f.f, err = os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	}
	if err != nil {
		return fmt.Errorf("remembering codes: %w", err)
	}
	return nil
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}
