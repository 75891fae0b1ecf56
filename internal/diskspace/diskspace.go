// Package diskspace keeps a program working beside a full disk. A floor of free space is left alone, so that what gives
// space back – settling, destruction – can always write; and a ballast, a file that holds nothing, is given up when others
// have filled the disk all the same. It is of Linux.
package diskspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/loglimit"
)

// ErrFull is wrapped by errors about a disk on which no more is to be stored.
var ErrFull = errors.New("the disk is full")

// DefaultFloor is how many bytes are left free, and as many are held as ballast.
const DefaultFloor = 64 << 20

const (
	// share of the file system that floor and ballast may each take: a small one is not to be full from the beginning.
	share = 16
	// lookEvery is how long a reading of free space holds.
	lookEvery = 50 * time.Millisecond
	// ballastName is the name of the ballast in the folder.
	ballastName = "ballast"
)

// Free returns the bytes that this user can still write where dir lies.
func Free(dir string) (uint64, error) {
	free, _, err := sizes(dir)
	return free, err
}

func sizes(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("reading free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// Options say what is kept free.
type Options struct {
	Dir    string // holds the ballast; made if it is missing
	Logger *slog.Logger
	// Sizes returns the free and the whole bytes of the disk; nil: the machine's. For tests.
	Sizes func(dir string) (free, total uint64, err error)
}

// Keeper watches one folder's disk. It is safe for concurrent use.
type Keeper struct {
	opts    Options
	floor   uint64
	ballast string

	mu     sync.Mutex
	looked time.Time
	free   uint64
	full   bool // as was last logged
}

// Open begins to watch. On a disk whose floor is used up it gives the ballast up at once; if what is free then is less than
// half the floor, nothing could be opened there, and the error, which wraps ErrFull, says what to do.
func Open(opts Options) (*Keeper, error) {
	if opts.Sizes == nil {
		opts.Sizes = sizes
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	_, total, err := opts.Sizes(existing(opts.Dir))
	if err != nil {
		return nil, err
	}
	k := &Keeper{opts: opts, floor: min(DefaultFloor, total/share), ballast: filepath.Join(opts.Dir, ballastName)}
	if err := k.Tend(); err != nil {
		return nil, err
	}
	if free := k.free; free < k.floor/2 {
		return nil, fmt.Errorf("%w: %d KiB are free where %s lies, at least %d are needed to begin; "+
			"move or delete what does not belong to it, then start again", ErrFull, free>>10, opts.Dir, k.floor>>11)
	}
	return k, nil
}

// existing returns the folder, or the nearest above it that there is.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// Check returns an error wrapping ErrFull when no more is to be stored.
func (k *Keeper) Check() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) >= lookEvery {
		if err := k.look(); err != nil {
			return err
		}
	}
	return k.judge()
}

// judge holds what is free against the floor. The caller holds mu.
func (k *Keeper) judge() error {
	full := k.free < k.floor
	if full != k.full {
		k.full = full
		if full {
			k.opts.Logger.Error("the disk is full: nothing more is stored until there is space", "path", k.opts.Dir, "free", k.free, "floor", k.floor)
		} else {
			k.opts.Logger.Info("the disk has space again", "path", k.opts.Dir, "free", k.free)
		}
	}
	if full {
		return fmt.Errorf("%w: %d KiB are free, %d are left alone", ErrFull, k.free>>10, k.floor>>10)
	}
	return nil
}

// look reads what is free. The caller holds mu, or is Open.
func (k *Keeper) look() error {
	free, _, err := k.opts.Sizes(existing(k.opts.Dir))
	if err != nil {
		return err
	}
	k.free, k.looked = free, time.Now()
	return nil
}

// Tend gives the ballast up when less than half the floor is free, and makes it again when there is space for it beside the
// floor. It is called now and then; an error is of reading the disk's state.
func (k *Keeper) Tend() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.look(); err != nil {
		return err
	}
	info, err := os.Stat(k.ballast)
	held := err == nil && info.Size() > 0
	switch {
	case held && k.free < k.floor/2:
		if err := os.Remove(k.ballast); err != nil {
			return fmt.Errorf("giving the ballast up: %w", err)
		}
		k.opts.Logger.Warn("the ballast was given up: the disk is full", "path", k.ballast, "bytes", info.Size())
		if err := k.look(); err != nil {
			return err
		}
	case !held && k.free >= 3*k.floor:
		if err := k.take(); err != nil {
			_ = os.Remove(k.ballast)
			k.opts.Logger.Warn("no ballast could be taken", "path", k.ballast, "error", err)
		}
		if err := k.look(); err != nil {
			return err
		}
	}
	_ = k.judge()
	return nil
}

// tendEvery is the time between two looks of Run.
const tendEvery = 5 * time.Second

// Run tends until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var limit loglimit.Limiter
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := k.Tend(); err != nil {
			if ok, skipped := limit.Allow(""); ok {
				k.opts.Logger.Error("looking at the disk", "error", err, "count", skipped+1)
			}
		}
	}
}

// take makes the ballast: blocks of the disk that are reserved and hold nothing.
func (k *Keeper) take() error {
	if err := os.MkdirAll(k.opts.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(k.ballast, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(k.floor))
	if err == nil {
		err = durable.Disk{}.Sync(f)
	}
	return errors.Join(err, f.Close())
}
