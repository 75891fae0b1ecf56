package bench

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/protocol/visit"
)

// disk is a journal and the bare things beside it, all on one filesystem.
type disk struct {
	journal *journal.Journal
	bolt    *bareBolt
	file    bareFile
	record  []byte // as long as a sealed record
}

func openJournal(dir string, key visit.SealPublicKey) (*journal.Journal, error) {
	return journal.Open(journal.Options{Dir: dir, Facility: benchFacility, Gate: benchGate, SealKey: key})
}

func newDisk(ctx context.Context, s *site) (d *disk, err error) {
	key, err := visit.GenerateSealKey()
	if err != nil {
		return nil, err
	}
	size, err := journalSizes(ctx, s.path("journal"), key.Public())
	if err != nil {
		return nil, err
	}
	d = &disk{record: make([]byte, size.record)}
	if d.journal, err = openJournal(s.path("journal"), key.Public()); err != nil {
		return nil, err
	}
	if d.bolt, err = openBareBolt(s.path("bare.db"), size); err != nil {
		return nil, errors.Join(err, d.journal.Close())
	}
	if d.file, err = openBareFile(s.path("bare.log")); err != nil {
		return nil, errors.Join(err, d.journal.Close(), d.bolt.close())
	}
	return d, nil
}

// journalSizes begins a journal of one visit and returns the sizes of what it writes.
func journalSizes(ctx context.Context, dir string, key visit.SealPublicKey) (sizes, error) {
	j, err := openJournal(dir, key)
	if err != nil {
		return sizes{}, err
	}
	_, err = j.Append(ctx, newVisit(time.Now()))
	if err = errors.Join(err, j.Close()); err != nil {
		return sizes{}, err
	}
	return sizesOf(filepath.Join(dir, "journal.db"))
}

func (d *disk) close() error { return errors.Join(d.journal.Close(), d.bolt.close(), d.file.close()) }

func (d *disk) append(ctx context.Context) error {
	_, err := d.journal.Append(ctx, newVisit(time.Now()))
	return err
}

// appendOne times an append alone, without the making of its visit.
func (d *disk) appendOne(ctx context.Context) (time.Duration, error) {
	v := newVisit(time.Now())
	return timed(func() error {
		_, err := d.journal.Append(ctx, v)
		return err
	})()
}

// measureAppend is the durable append of one reader.
func measureAppend(ctx context.Context, s *site) (figures []Figure, err error) {
	d, err := newDisk(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	took, err := interleave(ctx, 8*time.Second, 300,
		func() (time.Duration, error) { return d.appendOne(ctx) },
		timed(func() error { return d.bolt.update(d.record) }),
		timed(func() error { return d.file.write(d.record) }))
	if err != nil {
		return nil, err
	}
	return []Figure{
		comparedRates("append_to_bbolt", "appends/s", 1, took[0], took[1], "one bbolt commit of the same record and state",
			atLeast(0.95, "sealing, chain and the checks of the disk are to cost little beside two flushes")),
		comparedRates("append_to_fdatasync", "appends/s", 1, took[0], took[2], "a record appended to a file and one fdatasync", forPeople),
	}, nil
}

const (
	writers    = 64
	writersLap = 2048 // appends
)

// measureWriters is the durable append of many readers at once, beside the plainest group commit.
func measureWriters(ctx context.Context, s *site) (figures []Figure, err error) {
	d, err := newDisk(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	groups := newBareGroups(d.bolt)
	defer groups.close()
	took, err := interleave(ctx, 8*time.Second, 30,
		timed(func() error { return spread(writers, writersLap, func() error { return d.append(ctx) }) }),
		timed(func() error { return spread(writers, writersLap, func() error { return groups.write(d.record) }) }))
	if err != nil {
		return nil, err
	}
	return []Figure{comparedRates("append_64_writers", "appends/s", writersLap, took[0], took[1],
		"64 writers over the plainest group commit: one goroutine that commits what is in a channel",
		atLeast(1.1, "whoever finds the disk free commits for all who wait, without a change of goroutine"))}, nil
}

// spread runs do n times from several goroutines and returns the first error of each.
func spread(goroutines, n int, do func() error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for errs[g] == nil && next.Add(1) <= int64(n) {
				errs[g] = do()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
