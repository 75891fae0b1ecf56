// Package bench measures kipass: each figure beside the bare limit of what lies under it – an Ed25519 check without a
// code around it, a bbolt commit without a journal – taken in turns in one run, so that the ratio holds on any machine.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/lab/internal/process"
)

// Options of a run. The zero value of each is its default.
type Options struct {
	Bin  string    // folder of the programs; default: the folder this program lies in
	Dir  string    // where to measure: its filesystem is the one that counts; default: a temporary folder on a real disk
	Only string    // measure only families whose name contains it
	Log  io.Writer // progress
}

// family measures figures that belong together.
type family struct {
	name string
	run  func(context.Context, *site) ([]Figure, error)
}

var families = []family{
	{"code", measureCode},
	{"seal", measureSeal},
	{"append", measureAppend},
	{"writers", measureWriters},
	{"gate", measureGate},
	{"drain", measureDrain},
	{"ingest", measureIngest},
	{"single", measureSingle},
	{"voice", measureVoice},
	{"idle", measureIdle},
}

// site is where a family measures.
type site struct {
	dir      string // empty, on a real disk, its own
	programs process.Programs
	log      io.Writer
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *site) say(format string, args ...any) { fmt.Fprintf(s.log, "  "+format+"\n", args...) }

// Run takes the figures. What could not be measured is in the error, and its logs are kept; the figures that could be
// are returned all the same.
func Run(ctx context.Context, opts Options) (figures []Figure, err error) {
	if opts.Log == nil {
		opts.Log = io.Discard
	}
	if opts.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		opts.Bin = filepath.Dir(self)
	}
	parent := opts.Dir
	if parent == "" {
		parent = realDisk(opts.Bin)
	}
	dir, err := os.MkdirTemp(parent, "kipass-bench-")
	if err != nil {
		return nil, fmt.Errorf("no folder to measure in: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w (what is left of it is in %s)", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	fmt.Fprintf(opts.Log, "측정 / measuring in %s, load %s\n", dir, load())
	var failed []error
	for n, f := range families {
		if !strings.Contains(f.name, opts.Only) {
			continue
		}
		began := time.Now()
		fmt.Fprintf(opts.Log, "[%d/%d] %s\n", n+1, len(families), f.name)
		got, err := measureFamily(ctx, f, opts, filepath.Join(dir, f.name))
		if ctx.Err() != nil {
			return figures, ctx.Err()
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s could not be measured: %w", f.name, err))
			fmt.Fprintf(opts.Log, "  %v\n", err)
			continue
		}
		figures = append(figures, got...)
		fmt.Fprintf(opts.Log, "  %v\n", time.Since(began).Round(100*time.Millisecond))
	}
	fmt.Fprintf(opts.Log, "load %s\n", load())
	if len(figures) == 0 && len(failed) == 0 {
		return nil, fmt.Errorf("no family of figures is called %q", opts.Only)
	}
	return figures, errors.Join(failed...)
}

// measureFamily returns a family's figures or an error, and keeps the family's folder in the latter case.
func measureFamily(ctx context.Context, f family, opts Options, dir string) ([]Figure, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &site{dir: dir, programs: process.Programs{Bin: opts.Bin, Logs: dir}, log: opts.Log}
	got, err := f.run(ctx, s)
	if err != nil { // the logs say more
		return nil, err
	}
	return got, os.RemoveAll(dir)
}

// realDisk returns the folder for temporary files, or another one where that is a memory filesystem: flushing costs
// nothing there.
func realDisk(other string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &st); err == nil && int64(st.Type) == unix.TMPFS_MAGIC {
		return other
	}
	return os.TempDir()
}

func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(raw))[:3], " ")
}
