package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

// maxGroup is how many appends may share one commit.
const maxGroup = 512

// request is one append on its way. seq and err are set before done is closed.
type request struct {
	ctx    context.Context
	record []byte
	at     time.Time
	day    day.Day
	proven bool
	seq    uint64
	err    error
	done   chan struct{}
}

// sealing is the epoch in force. Its key lives in sealer alone.
type sealing struct {
	sealer *visit.Sealer
	day    day.Day
	proven bool
	since  time.Time // with monotonic reading
}

// wait returns when r is done. Whoever holds writeSem commits what is queued, the requests of others included: a lone append
// needs no other goroutine, and what arrives during a commit shares the next one.
func (j *Journal) wait(r *request) error {
	for {
		select {
		case <-r.done:
			return r.err
		case <-r.ctx.Done():
			select {
			case <-r.done: // in time or not, what became of it is known
				return r.err
			default:
				return r.ctx.Err()
			}
		case <-j.closing:
			return ErrClosed
		case j.writeSem <- struct{}{}:
			j.serve(r)
			<-j.writeSem
		}
	}
}

// serve commits one group if r is not done yet. The caller holds writeSem.
func (j *Journal) serve(r *request) {
	select {
	case <-r.done:
		return
	default:
	}
	group := j.gather()
	err := j.append(group)
	for _, r := range group {
		if r.err == nil {
			r.err = err
		}
		close(r.done)
	}
	if err == nil {
		j.notify()
	}
}

// gather takes what is queued, at most maxGroup. It never waits for more; if the last group was shared, it lets goroutines
// run that are about to queue.
func (j *Journal) gather() []*request {
	j.queueMu.Lock()
	defer j.queueMu.Unlock()
	for before := 0; len(j.queue) > before && len(j.queue) < maxGroup && (j.shared || len(j.queue) > 1); {
		before = len(j.queue)
		j.queueMu.Unlock()
		runtime.Gosched()
		j.queueMu.Lock()
	}
	n := min(len(j.queue), maxGroup)
	j.shared = n > 1
	group := j.queue[:n:n]
	j.queue = append([]*request(nil), j.queue[n:]...)
	return group
}

func (j *Journal) enqueue(r *request) {
	j.queueMu.Lock()
	defer j.queueMu.Unlock()
	j.queue = append(j.queue, r)
}

// do runs op while holding writeSem.
func (j *Journal) do(op func() error) error {
	select {
	case <-j.closing:
		return ErrClosed
	case j.writeSem <- struct{}{}:
	}
	defer func() { <-j.writeSem }()
	select {
	case <-j.closing:
		return ErrClosed
	default:
		return op()
	}
}

// append seals and commits a group. Either all of it becomes durable or none of it counts.
func (j *Journal) append(group []*request) error {
	err := j.repair()
	if err == nil {
		err = j.checkSpace()
	}
	if err == nil {
		err = j.seal(group)
	}
	j.mu.Lock()
	j.failed = err
	j.mu.Unlock()
	return err
}

func (j *Journal) seal(group []*request) error {
	key := *j.key.Load()
	if key.ID() == (visit.SealKeyID{}) {
		return ErrNoKey
	}
	sealed := false
	defer func() {
		if !sealed {
			j.sealing = nil // what it sealed is not on the disk, and may not be sealed again under its key
		}
	}()
	next := j.state
	arena := make([]byte, 0, len(group)*128)
	records := make([]visit.Sealed, 0, len(group))
	var epochs []epoch
	for _, r := range group {
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		seq := next.head.Seq + 1
		if !j.fits(r, key) {
			s, err := visit.NewSealer(key, j.opts.Facility, j.opts.Gate, seq)
			if err != nil {
				return err
			}
			j.sealing = &sealing{sealer: s, day: r.day, proven: r.proven, since: j.opts.Now()}
			epochs = append(epochs, epoch{Epoch: s.Epoch(), day: r.day, proven: r.proven, began: r.at})
		}
		start := len(arena)
		arena = j.sealing.sealer.Seal(arena, seq, r.record)
		record := visit.Sealed{Seq: seq, Data: arena[start:len(arena):len(arena)]}
		next.head = next.head.next(record)
		r.seq = seq
		records = append(records, record)
	}
	if len(records) == 0 {
		sealed = true
		return nil
	}
	err := j.update(&next, func(tx *bolt.Tx) error {
		for _, e := range epochs {
			if err := tx.Bucket(bucketEpochs).Put(seqKey(e.First), e.encode()); err != nil {
				return err
			}
		}
		b := tx.Bucket(bucketRecords)
		if len(records) > 1 {
			b.FillPercent = 1 // keys only ever rise, so a group fills its pages; for one record it only costs time
		}
		for _, r := range records {
			if err := b.Put(seqKey(r.Seq), r.Data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing records %d to %d: %w", records[0].Seq, next.head.Seq, err)
	}
	sealed = true
	j.appended = time.Now()
	return nil
}

// fits tells whether r may be sealed in the epoch in force. Days that are not proven begin none: their retention does not go
// by them.
func (j *Journal) fits(r *request, key visit.SealPublicKey) bool {
	s := j.sealing
	return s != nil && s.proven == r.proven && (s.day == r.day || !r.proven) && s.sealer.Epoch().Key == key.ID() &&
		j.opts.Now().Sub(s.since) < j.opts.EpochLimit
}

// update commits change together with the state next. If it fails, nobody can tell whether it is on the disk: the epoch
// in force ends, so that no sequence is ever sealed twice under one key, and the journal's state is what the file then says.
func (j *Journal) update(next *state, change func(*bolt.Tx) error) error {
	err := catchPanic(func() error {
		return j.opts.System.Update(j.db, func(tx *bolt.Tx) error {
			j.size = tx.Size()
			if err := change(tx); err != nil {
				return err
			}
			next.floor = j.floor.Load()
			return tx.Bucket(bucketMeta).Put(keyState, next.encode())
		})
	})
	if err == nil {
		_, live := j.fill()
		j.mu.Lock()
		j.state, j.live = *next, live
		j.mu.Unlock()
		return nil
	}
	j.distrust(err)
	if isFull(err) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// distrust ends the epoch and opens the file anew after cause. Unless cause came before any flush, the file stays suspect.
func (j *Journal) distrust(cause error) {
	j.sealing = nil
	if !beforeFlush(cause) {
		j.suspect = cause
	}
	if err := j.reload(errors.Is(cause, errPanic)); err != nil {
		j.log.Error("journal cannot be reopened", "error", err)
	}
}

// repair makes the journal fit for a commit after a failed one. A suspect file is rewritten into a new one and flushed:
// after a failed flush the kernel may show bytes that are not on the device and never will be, and a commit on top of them
// would acknowledge what a power cut takes away.
func (j *Journal) repair() error {
	if j.db == nil {
		if err := j.reload(false); err != nil {
			return err
		}
	}
	if j.suspect == nil {
		j.suspect = j.checkInPlace()
	}
	if j.suspect == nil {
		return nil
	}
	cause := j.suspect
	if err := j.rewrite(); err != nil {
		return err
	}
	j.suspect = nil
	j.log.Info("journal rewritten after a failed write", "cause", cause)
	return nil
}
