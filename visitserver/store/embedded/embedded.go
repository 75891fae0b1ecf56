// Package embedded keeps the visit server's data in Pebble (github.com/cockroachdb/pebble/v2) under one folder: one
// database per day of visit in days/2006-01-02, so that a day goes by removing its folder, and one for the register and
// the counts of retired days in register. A day's database that does not open for damage is moved to aside/2006-01-02.N
// when rows are put into it again, and a fresh one begun; its rows are given out as far as they can be read. It needs no service
// to run and is meant for one machine.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kipass/kipass/internal/loglimit"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/visitserver/store"
)

// Options sets a store up. The zero value is good.
type Options struct {
	Cache  int64 // bytes of block cache shared by all days, default 64 MiB
	Logger *slog.Logger
	FS     vfs.FS                // default: the machine's own; others are for tests and simulations
	Tune   func(*pebble.Options) // changes what each database is opened with, for them too; nil: nothing
}

const (
	defaultCache = 64 << 20
	memTable     = 32 << 20
	openFiles    = 1024
	// maxUncompacted is how many tables, each of a memtable or less, may wait to be compacted before a database takes no more.
	maxUncompacted = 1000
	stripes        = 256
)

// Store implements store.Store. One process at a time may hold a folder.
type Store struct {
	dir      string
	opts     Options
	fs       vfs.FS
	cache    *pebble.Cache
	files    *pebble.FileCache
	register *pebble.DB
	spoilt   atomic.Bool // damage was met in the register

	swap     sync.Mutex      // orders the register's conditional changes; guards the fields below, up to seed
	freed    *sync.Cond      // on swap: a value is reserved no longer
	reserved map[string]bool // keys of values that rows carry at the moment
	marked   map[day.Day]bool
	order    uint64 // of what was carried last

	generation uint64 // of what days carry, since the store was opened

	seed  maphash.Seed
	locks [stripes]sync.Mutex // one facility's check-and-insert at a time

	limit loglimit.Limiter // of what the databases complain about

	mu      sync.Mutex
	days    map[day.Day]*dayState
	opening map[string]*opening // by path
	closed  bool
}

// dayState is one day's database. db is nil while there is none; mu is held for reading while db is used and for writing to
// open, retire or drop it.
type dayState struct {
	mu      sync.RWMutex
	db      *pebble.DB
	retired bool
	written bool        // whether to have a filter is decided
	told    atomic.Bool // that look-ups meet damage
	spoilt  atomic.Bool // damage was met in db
	filter  atomic.Pointer[filter]
}

var _ store.Store = (*Store)(nil)

// Open opens the store in dir, making the folder if need be. On a full disk the error wraps syscall.ENOSPC.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Cache == 0 {
		opts.Cache = defaultCache
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	s := &Store{
		dir: dir, opts: opts, fs: opts.FS, seed: maphash.MakeSeed(), days: map[day.Day]*dayState{}, opening: map[string]*opening{},
		reserved: map[string]bool{}, marked: map[day.Day]bool{},
	}
	s.freed = sync.NewCond(&s.swap)
	for _, sub := range []string{"days", "aside"} {
		if err := s.makeFolder(filepath.Join(dir, sub)); err != nil {
			return nil, err
		}
	}
	s.cache = pebble.NewCache(opts.Cache)
	s.files = pebble.NewFileCache(4, openFiles)
	var err error
	if s.register, err = s.openDB(filepath.Join(dir, "register"), &s.spoilt, 0); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	retired, err := s.Retired(context.Background())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, t := range retired {
		s.days[t.Day] = &dayState{retired: true}
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes every database. Nothing may be in progress.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var errs []error
	for _, d := range s.days {
		if d.db != nil {
			errs = append(errs, d.db.Close())
		}
	}
	if s.register != nil {
		errs = append(errs, s.register.Close())
	}
	s.files.Unref()
	s.cache.Unref()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the store in %s: %w", s.dir, err)
	}
	return nil
}

// options are the same for every database; lab/bench sets its bare Pebble up in the same way. Where damage is met in the
// database, spoilt is set.
func (s *Store) options(disk *fullDisk, spoilt *atomic.Bool) *pebble.Options {
	opts := &pebble.Options{
		FS:                 patientFS{s.fs, disk},
		FormatMajorVersion: pebble.FormatNewest,
		Cache:              s.cache,
		FileCache:          s.files,
		MemTableSize:       memTable,
		Merger:             sums,
		// Pebble stops all writes while so many tables wait to be compacted: in a damaged database, for ever.
		L0StopWritesThreshold: maxUncompacted,
		Logger:                dbLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if damaged(err) {
					spoilt.Store(true)
				}
				s.background(disk, err)
			},
			// Pebble's own answer to a damaged block is to end the program. Whoever reads it gets the error anyway.
			DataCorruption: func(pebble.DataCorruptionInfo) { spoilt.Store(true) },
		},
		// Pebble would look at a damaged table again and again, without a pause. What it wants to know is of use where much is
		// deleted, which happens to whole days here.
		DisableTableStats: true,
	}
	opts.Experimental.CompactionScheduler = newCompactions(spoilt)
	// Values are ciphertext: compressing them costs time and saves nothing.
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if s.opts.Tune != nil {
		s.opts.Tune(opts)
	}
	return opts
}

func (s *Store) dayPath(d day.Day) string { return filepath.Join(s.dir, "days", d.String()) }

func (s *Store) dayOf(d day.Day) *dayState {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.days[d]
	if state == nil {
		state = &dayState{}
		s.days[d] = state
	}
	return state
}

// has reports whether there is anything of a day. Of others nothing is kept in memory, whoever asks for them: days to ask for
// are without end.
func (s *Store) has(d day.Day) bool {
	s.mu.Lock()
	_, known := s.days[d]
	s.mu.Unlock()
	if known {
		return true
	}
	if _, err := s.fs.Stat(s.dayPath(d)); !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	n, err := s.leastOf(d)
	return n > 0 || err != nil
}

// use calls f with the day's database, which stays open and unretired meanwhile. If the day has no rows or is retired, it
// makes the database or fails with store.ErrRetired where create is true, and calls f with nil where it is not.
func (s *Store) use(d day.Day, create bool, f func(db *pebble.DB) error) error {
	if !create && !s.has(d) {
		return f(nil)
	}
	p := s.dayOf(d)
	p.mu.RLock()
	if (p.db == nil || create && !p.written) && !p.retired {
		p.mu.RUnlock()
		if err := s.openDay(d, p, create); err != nil {
			return err
		}
		p.mu.RLock()
	}
	defer p.mu.RUnlock()
	switch {
	case !p.retired:
		return f(p.db)
	case create:
		return fmt.Errorf("%v: %w", d, store.ErrRetired)
	default:
		return f(nil)
	}
}

func (s *Store) openDay(d day.Day, p *dayState, create bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return nil
	}
	if p.db == nil {
		if err := s.begin(d, p, create); err != nil {
			return err
		}
	}
	if !create || p.written {
		return nil
	}
	if s.admitFilter(d) {
		f, err := s.fill(p.db)
		if err != nil && !s.unreadable(d, err) { // a damaged day goes without a filter
			return fmt.Errorf("reading the index of %v: %w", d, err)
		}
		p.filter.Store(f)
	}
	p.written = true
	return nil
}

// begin opens a day's database if there is one; where create is true it makes one, also in place of a damaged one. The caller
// holds the day's lock.
func (s *Store) begin(d day.Day, p *dayState, create bool) error {
	least, err := s.leastOf(d)
	if err != nil {
		return err
	}
	var db *pebble.DB
	path := s.dayPath(d)
	_, absent := s.fs.Stat(path)
	switch {
	case !errors.Is(absent, fs.ErrNotExist):
		db, err = s.openDB(path, &p.spoilt, least)
	case least > 0:
		err = missing(least)
	}
	if create && damaged(err) {
		if err := s.setAside(d, err); err != nil {
			return err
		}
		least, err = 0, nil
		p.spoilt.Store(false)
	}
	if create && err == nil && db == nil {
		db, err = s.openDB(path, &p.spoilt, 0)
	}
	if db == nil {
		return err
	}
	p.db = db
	if err := s.noteVisits(d, db, least); !s.unreadable(d, err) {
		return err
	}
	return nil
}

// Days implements store.Days.
func (s *Store) Days(ctx context.Context) ([]day.Day, error) {
	days, _, err := s.listDays(ctx)
	if err != nil {
		return nil, err
	}
	noted, err := s.noted('n') // also those whose folder is gone
	if err != nil {
		return nil, err
	}
	days = append(days, noted...)
	slices.Sort(days)
	return slices.Compact(days), nil
}

// Strays implements store.Days.
func (s *Store) Strays(ctx context.Context) ([]string, error) {
	_, strays, err := s.listDays(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.fs.List(s.asidePath())
	if err != nil {
		return nil, fmt.Errorf("listing what was set aside: %w", err)
	}
	for _, name := range names {
		if _, ok := dayAside(name); !ok {
			strays = append(strays, filepath.Join(s.asidePath(), name))
		}
	}
	return strays, nil
}

func (s *Store) listDays(ctx context.Context) (days []day.Day, strays []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	folder := filepath.Join(s.dir, "days")
	names, err := s.fs.List(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("listing days of visit: %w", err)
	}
	for _, name := range names {
		if d, err := day.Parse(name); err == nil {
			days = append(days, d)
		} else {
			strays = append(strays, filepath.Join(folder, name))
		}
	}
	slices.Sort(days)
	return days, strays, nil
}

func (s *Store) lock(f visit.Facility) *sync.Mutex {
	return &s.locks[maphash.String(s.seed, string(f))%stripes]
}
