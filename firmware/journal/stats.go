package journal

import (
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// Stats is how a journal stands.
type Stats struct {
	Journal     visit.JournalID
	Head        uint64    // newest sequence, 0 for none
	Tail        Position  // of the newest record that was settled
	Backlog     uint64    // undelivered records
	Quarantined uint64    // records the server refused for good, kept
	Destroyed   uint64    // undelivered or quarantined records destroyed at the end of their retention
	Oldest      time.Time // when the epoch of the oldest undelivered record began; at most EpochLimit early; zero for none
	FreeDisk    uint64    // bytes free where the journal lies
	Kept        uint64    // delivered records kept for a server that asks again; they are no backlog
	Replaced    []string  // paths of files that were set aside and still lie there, oldest first
	Damage      string    // what was found damaged, missing or of another place since Open, in words
	Full        error     // why appends are refused for want of space, wrapping ErrFull; nil if there is space
	Failed      error     // the last append's error, nil after one that went well

	// What follows is as RunRetention found it last, ten minutes ago at most.
	OldestKept time.Time     // when the epoch of the oldest record in the file began, delivered or not; zero for none
	Term       Term          // of what is to be gone first
	Untidy     time.Duration // for how long the file has shown, in free pages, records that have left it
	Ending     error         // what could not be ended, nil for nothing
}

// Age returns how old the oldest record in the file is at now, 0 if there is none.
func (s Stats) Age(now time.Time) time.Duration {
	if s.OldestKept.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.OldestKept))
}

// Overdue returns for how long something has been kept past its end at now, 0 if nothing is.
func (s Stats) Overdue(now time.Time) time.Duration {
	overdue := max(0, s.Untidy-untidyFor)
	if s.Term.What != "" {
		overdue = max(overdue, now.Sub(s.Term.Due))
	}
	return overdue
}

// Stats tells how the journal stands. It waits for no commit, and reads the disk's free space and one epoch.
func (j *Journal) Stats() Stats {
	oldest := j.oldest() // first: it finds a file that was damaged meanwhile
	j.mu.Lock()
	st, live := j.state, j.live
	s := Stats{
		Journal: st.id, Head: st.head.Seq, Tail: st.tail, Backlog: st.backlog(), Quarantined: st.quarantined(), Kept: st.kept(),
		Destroyed: st.destroyed + st.purged, Oldest: oldest, Damage: j.damage, Failed: j.failed,
		OldestKept: j.kept.oldest, Term: j.kept.term, Ending: j.ending,
	}
	if !j.untidy.IsZero() {
		s.Untidy = time.Since(j.untidy)
	}
	j.mu.Unlock()
	if free, err := j.opts.System.Free(j.opts.Dir); err == nil {
		s.FreeDisk, s.Full = free, j.spaceFor(free, live)
	}
	s.Replaced = j.setAsideFiles()
	return s
}

// oldest returns when the epoch of the oldest undelivered record began, zero if there is none or it cannot be read.
func (j *Journal) oldest() time.Time {
	j.mu.Lock()
	first := j.state.tail.Seq + 1
	j.mu.Unlock()
	var e epoch
	err := j.view(func(tx *bolt.Tx) (err error) {
		if k, _ := tx.Bucket(bucketRecords).Cursor().Seek(seqKey(first)); k == nil {
			return nil
		}
		if k, v := seekEpoch(tx.Bucket(bucketEpochs).Cursor(), first); k != nil {
			e, err = decodeEpoch(k, v)
		}
		return err
	})
	if err != nil {
		return time.Time{}
	}
	return e.began
}
