package journal

import (
	"encoding/binary"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kipass/kipass/protocol/visit"
)

// Stats is how a journal stands.
type Stats struct {
	Journal     visit.JournalID
	Head        uint64    // newest sequence, 0 for none
	Backlog     uint64    // undelivered records
	Quarantined uint64    // records the server refused for good, kept
	Destroyed   uint64    // undelivered or quarantined records destroyed at the end of their retention
	Oldest      time.Time // when the epoch of the oldest undelivered record began; at most EpochLimit early; zero for none
	FreeDisk    uint64    // bytes free where the journal lies
	FileSize    int64     // bytes of the journal file
	Replaced    []string  // paths of files that were set aside and still lie there, oldest first
	Damage      string    // what was found damaged, missing or of another place since Open, in words
	Full        error     // why appends are refused for want of space, wrapping ErrFull; nil if there is space
	Failed      error     // the last append's error, nil after one that went well
}

// Stats tells how the journal stands. It reads the disk's free space and the directory, and waits for no commit.
func (j *Journal) Stats() Stats {
	var oldest time.Time
	_ = j.view(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket(bucketRecords).Cursor().First()
		if k == nil {
			return nil
		}
		ek, ev := seekEpoch(tx.Bucket(bucketEpochs).Cursor(), binary.BigEndian.Uint64(k))
		if ek == nil {
			return nil
		}
		e, err := decodeEpoch(ek, ev)
		oldest = e.began
		return err
	})
	j.mu.Lock()
	s := Stats{
		Journal: j.state.id, Head: j.state.head.Seq, Backlog: j.state.backlog(), Quarantined: j.state.quarantined(),
		Destroyed: j.state.destroyed + j.state.purged, Oldest: oldest, Damage: j.damage, Failed: j.failed,
	}
	live := j.live
	j.mu.Unlock()
	if info, err := os.Stat(j.path(fileName)); err == nil {
		s.FileSize = info.Size()
	}
	if free, err := j.opts.System.Free(j.opts.Dir); err == nil {
		s.FreeDisk, s.Full = free, j.spaceFor(free, live)
	}
	s.Replaced = j.setAsideFiles()
	return s
}
