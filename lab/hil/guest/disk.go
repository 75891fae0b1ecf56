package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/lab/hil/job"
	"github.com/kipass/kipass/lab/hil/powerdisk"
)

const diskReady = "disk ready"

// Requests of linux/nbd.h.
const (
	nbdSetSock      = 0xab00
	nbdSetBlockSize = 0xab01
	nbdDoIt         = 0xab03
	nbdSetBlocks    = 0xab07
	nbdSetFlags     = 0xab0a

	nbdHasFlags  = 1 << 0
	nbdSendFlush = 1 << 2
	nbdSendFUA   = 1 << 3
)

// ServeDisk plays the journal's disk, on top of the machine's block device, until the machine dies. It says to out when the
// disk can be used. args are the kind of disk and the seed.
func ServeDisk(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("a disk needs its kind and a seed")
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	platter, blocks, err := openPlatter(platterDevice)
	if err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making the disk's connection: %w", err)
	}
	device, err := os.OpenFile(served, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	set := func(request uint, value int) {
		if err == nil {
			if err = unix.IoctlSetInt(int(device.Fd()), request, value); err != nil {
				err = fmt.Errorf("setting up %s (request %#x): %w", served, request, err)
			}
		}
	}
	set(nbdSetBlockSize, powerdisk.Block)
	set(nbdSetBlocks, blocks)
	set(nbdSetFlags, nbdHasFlags|nbdSendFlush|nbdSendFUA)
	set(nbdSetSock, ends[0])
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- connect(device) }()
	go func() {
		disk := powerdisk.New(platter, seed, args[0] == string(job.Lying))
		ended <- disk.Serve(os.NewFile(uintptr(ends[1]), "disk"))
	}()
	// The kernel gives the device its size when it has begun to use the connection.
	err = await(served, func() (bool, error) {
		select {
		case err := <-ended:
			return false, errors.Join(errors.New("the kernel let go of the disk's connection"), err)
		default:
			return servedSize() > 0, nil
		}
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, diskReady); err != nil {
		return err
	}
	return <-ended
}

// connect lets the kernel use the connection it was given, and returns when that has ended. The kernel takes any signal to
// the calling thread for the wish to disconnect, and Go's scheduler sends SIGURG to a thread that has run for 10 ms, which
// may arrive when this call has just begun. So the thread takes no signals; it ends with this goroutine.
func connect(device *os.File) error {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i] // its words are of 32 or of 64 bits
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, nil); err != nil {
		return fmt.Errorf("blocking signals: %w", err)
	}
	if err := unix.IoctlSetInt(int(device.Fd()), nbdDoIt, 0); err != nil {
		return fmt.Errorf("using the disk's connection: %w", err)
	}
	return nil
}

// servedSize returns the size of the served disk in sectors, 0 while it is not served.
func servedSize() int {
	size, err := os.ReadFile("/sys/block/" + filepath.Base(served) + "/size")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(size)))
	if err != nil {
		return 0
	}
	return n
}

// platter is a block device whose writes go to the host at once. It is read and written through one aligned buffer, as
// O_DIRECT wants it.
type platter struct {
	device *os.File
	buffer []byte
}

func openPlatter(path string) (*platter, int, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, fmt.Errorf("measuring %s: %w", path, err)
	}
	buffer, err := unix.Mmap(-1, 0, powerdisk.Block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, 0, fmt.Errorf("taking memory for %s: %w", path, err)
	}
	return &platter{f, buffer}, int(size / powerdisk.Block), nil
}

func (p *platter) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.device.ReadAt(p.buffer[:len(b)], off)
	copy(b, p.buffer[:n])
	return n, err
}

func (p *platter) WriteAt(b []byte, off int64) (int, error) {
	return p.device.WriteAt(p.buffer[:copy(p.buffer, b)], off)
}
