// Package journal keeps the gate's visits until the visit server has them. A visit is sealed as it is written: what lies
// on the disk can be opened by the server's private key alone. An append returns when it is durable; a record leaves the
// journal only when the server says that it is stored, refuses it for good (it then goes to quarantine), or when its
// retention has ended. A damaged file is set aside, never deleted.
//
// One caller at a time writes. Appends that arrive together share one commit. The file is bbolt's; JOURNAL.md beside
// this file specifies what is in it and what holds after each failure.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// What a caller branches on.
var (
	ErrFull    = errors.New("journal has no space left")                  // the floor of free disk or the file's limit is reached; passes when space returns
	ErrLocked  = errors.New("journal is in use by another process")       // Open and Contents
	ErrNoKey   = errors.New("no sealing key of the visit server yet")     // the gate is not enrolled
	ErrForeign = errors.New("settlement does not belong to this journal") // of another journal, or beyond its head
	ErrClosed  = errors.New("journal is closed")                          // after Close
	errDamaged = errors.New("journal file is damaged")                    // the file is set aside
	errPanic   = fmt.Errorf("%w: the database stopped on it", errDamaged) // bbolt's locks may still be held
	errNoFile  = errors.New("journal file could not be opened again")     // tried anew by the next append
)

// Defaults of Options.
const (
	DefaultFreeFloor  = 64 << 20
	DefaultMaxSize    = 1 << 30
	DefaultEpochLimit = time.Hour
)

// Options of a journal.
type Options struct {
	Dir        string // made if it is missing, with mode 0700
	Facility   visit.Facility
	Gate       visit.Gate
	SealKey    visit.SealPublicKey // may be zero: appends are refused with [ErrNoKey] until [Journal.SetSealKey]
	FreeFloor  uint64              // bytes of disk to leave free; 0 means DefaultFreeFloor, 1 none
	MaxSize    int64               // bytes of records and tree the file may hold; 0 means DefaultMaxSize, which 32-bit machines can map
	EpochLimit time.Duration       // 0 means DefaultEpochLimit; more is cut to it
	Now        func() time.Time    // nil means time.Now; names files set aside, and measures epochs by its monotonic reading
	Logger     *slog.Logger        // nil discards
	System     System              // the machine
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	opts     Options
	filePath string
	log      *slog.Logger
	lock     *os.File
	key      atomic.Pointer[visit.SealPublicKey]
	floor    atomic.Int64 // seconds since 1970
	signal   chan struct{}
	closing  chan struct{}
	closed   sync.Once

	queueMu sync.Mutex
	queue   []*request
	shared  bool // the last group had more than one append

	// writeSem is held (by having sent to it) by the one who writes. It guards what follows, up to mu.
	writeSem chan struct{}
	sealing  *sealing // the epoch in force, nil: the next append begins one
	suspect  error    // why the file must be rewritten before the next commit

	swap sync.RWMutex // read-held while db is read without writeSem; write-held while it is exchanged
	db   *bolt.DB     // nil while no file can be opened
	file *os.File     // of db, to be closed when bbolt's own Close could hang
	held inode        // of file

	spaceRead time.Time // when free space was last seen to suffice
	size      int64     // of the file in use at the last commit, in bytes
	appended  time.Time // of the last append, with monotonic reading
	settledBy []mark    // while the clock is not trusted: by when what was settled, by running time

	mu     sync.Mutex // guards the fields below; those up to failed are changed by the holder of writeSem alone
	state  state
	live   int64     // bytes of the file in use after the last commit
	damage string    // what was found damaged, missing or foreign since Open
	aside  []string  // paths of files set aside
	failed error     // outcome of the last append
	untidy time.Time // since when the file is to be written anew, with monotonic reading, see tidy; zero if it is not
	kept   kept      // as RunRetention found it last
	ending error     // what RunRetention could not end, nil for nothing
}

// Open opens the journal in opts.Dir or begins one. A file that is damaged or belongs to another place is set aside and a
// fresh one begun; [Journal.Stats] tells. Errors wrap [ErrLocked] when another process holds the journal; the file is then
// left alone, as it is when it cannot be read for want of permission or memory.
func Open(opts Options) (*Journal, error) {
	if _, err := visit.ParseFacility(string(opts.Facility)); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	if _, err := visit.ParseGate(string(opts.Gate)); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	opts.setDefaults()
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	lock, err := lockDir(opts.Dir, true)
	if err != nil {
		return nil, err
	}
	j := &Journal{
		opts: opts, filePath: filepath.Join(opts.Dir, fileName), log: opts.Logger, lock: lock,
		signal: make(chan struct{}, 1), closing: make(chan struct{}), writeSem: make(chan struct{}, 1),
	}
	j.SetSealKey(opts.SealKey)
	j.lookAside()
	err = opts.System.Disk.Sweep(opts.Dir)
	if err == nil {
		err = j.load()
	}
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	if j.state.backlog() > 0 {
		j.notify()
	}
	return j, nil
}

func (opts *Options) setDefaults() {
	if opts.FreeFloor == 0 {
		opts.FreeFloor = DefaultFreeFloor
	}
	if opts.MaxSize <= 0 || opts.MaxSize > DefaultMaxSize {
		opts.MaxSize = DefaultMaxSize
	}
	if opts.EpochLimit <= 0 || opts.EpochLimit > DefaultEpochLimit {
		opts.EpochLimit = DefaultEpochLimit
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.System.setDefaults()
}

// Append seals v and returns its sequence when it is durable (written and flushed to the device). On any error the visit
// must be taken as not recorded, although it may be: a later try is then a second record of the same code, which the server
// counts once. Errors wrap [ErrFull], [ErrNoKey] or [ErrClosed] where one of them is the reason.
func (j *Journal) Append(ctx context.Context, v visit.Visit) (uint64, error) {
	record, err := v.Marshal()
	if err != nil {
		return 0, fmt.Errorf("journalling a visit: %w", err)
	}
	if len(record)+visit.SealOverhead > visit.MaxSealed {
		return 0, fmt.Errorf("journalling a visit: record of %d bytes is too long", len(record))
	}
	r := &request{
		ctx: ctx, record: record, at: v.At, day: day.Of(v.At), proven: v.Clock != visit.ClockUntrusted,
		done: make(chan struct{}),
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("journalling a visit: %w", err)
	}
	j.enqueue(r)
	if err := j.wait(r); err != nil {
		return 0, fmt.Errorf("journalling a visit: %w", err)
	}
	return r.seq, nil
}

// Wait returns a channel that receives after records were appended, and once after Open if records are waiting. Several
// appends may give one signal.
func (j *Journal) Wait() <-chan struct{} { return j.signal }

func (j *Journal) notify() {
	select {
	case j.signal <- struct{}{}:
	default:
	}
}

// SetSealKey names the server's key for records to come; it begins a new epoch with the next append.
func (j *Journal) SetSealKey(k visit.SealPublicKey) { j.key.Store(&k) }

// TimeFloor returns the time that had passed for certain, as it was kept last; zero for none.
func (j *Journal) TimeFloor() time.Time { return state{floor: j.floor.Load()}.floorTime() }

// KeepTimeFloor remembers t, in whole seconds, in place of what was known before, which may have been wrong in either
// direction. It becomes durable with the next commit or on Close.
func (j *Journal) KeepTimeFloor(t time.Time) { j.floor.Store(t.Unix()) }

// Close waits for the commit under way, makes the time floor durable and releases the files. Appends that were not
// yet taken up fail with [ErrClosed].
func (j *Journal) Close() error {
	var err error
	j.closed.Do(func() {
		close(j.closing)
		j.writeSem <- struct{}{} // and never given back
		err = j.release()
	})
	return err
}

func (j *Journal) release() error {
	var err error
	if j.db != nil && j.suspect == nil && j.floor.Load() != j.state.floor {
		next := j.state
		err = j.update(&next, func(*bolt.Tx) error { return nil })
	}
	j.swap.Lock()
	defer j.swap.Unlock()
	err = errors.Join(err, j.closeFile(false))
	if e := j.lock.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("releasing the journal's lock: %w", e))
	}
	return err
}
