package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// The bare loops write the bytes a journal writes – with each commit the records and one state – in the same file format
// on the same disk, and do nothing else.

// sizes are the bytes of what a journal writes.
type sizes struct{ record, state int }

// sizesOf reads them from a journal of at least one record. The journal must be closed.
func sizesOf(file string) (s sizes, err error) {
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return sizes{}, fmt.Errorf("reading %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bolt.Tx) error {
		records, meta := tx.Bucket([]byte("records")), tx.Bucket([]byte("meta"))
		if records == nil || meta == nil {
			return fmt.Errorf("%s is not laid out as a journal", file)
		}
		_, record := records.Cursor().Last()
		s = sizes{len(record), len(meta.Get([]byte("state")))}
		if s.record == 0 || s.state == 0 {
			return fmt.Errorf("%s holds no record or no state", file)
		}
		return nil
	})
	return s, err
}

// bareBolt is bbolt with nothing around it.
type bareBolt struct {
	db    *bolt.DB
	seq   uint64
	state []byte
}

var bareRecords, bareMeta, bareState = []byte("records"), []byte("meta"), []byte("state")

func openBareBolt(path string, s sizes) (*bareBolt, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: 4096, InitialMmapSize: 1 << 20})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(bareRecords)
		if err == nil {
			_, err = tx.CreateBucket(bareMeta)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &bareBolt{db: db, state: make([]byte, s.state)}, nil
}

// update commits records together. One caller at a time.
func (b *bareBolt) update(records ...[]byte) error {
	return b.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bareRecords)
		for _, r := range records {
			b.seq++
			if err := bucket.Put(binary.BigEndian.AppendUint64(nil, b.seq), r); err != nil {
				return err
			}
		}
		return tx.Bucket(bareMeta).Put(bareState, b.state)
	})
}

// read returns copies of up to n records after a sequence.
func (b *bareBolt) read(after uint64, n int) (records [][]byte, err error) {
	err = b.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(bareRecords).Cursor()
		for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, after+1)); k != nil && len(records) < n; k, v = c.Next() {
			records = append(records, bytes.Clone(v))
		}
		return nil
	})
	return records, err
}

func (b *bareBolt) close() error { return b.db.Close() }

// bareGroups is the plainest group commit over bbolt: one goroutine that writes what is in the channel.
type bareGroups struct {
	in    chan bareItem
	ended chan struct{}
}

type bareItem struct {
	record []byte
	done   chan error
}

const maxGroup = 512

func newBareGroups(b *bareBolt) *bareGroups {
	g := &bareGroups{in: make(chan bareItem, maxGroup), ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		for first := range g.in {
			group, records := []bareItem{first}, [][]byte{first.record}
			for more := true; more && len(group) < maxGroup; {
				select {
				case i, open := <-g.in:
					if more = open; open {
						group, records = append(group, i), append(records, i.record)
					}
				default:
					more = false
				}
			}
			err := b.update(records...)
			for _, i := range group {
				i.done <- err
			}
		}
	}()
	return g
}

func (g *bareGroups) write(record []byte) error {
	i := bareItem{record, make(chan error, 1)}
	g.in <- i
	return <-i.done
}

func (g *bareGroups) close() {
	close(g.in)
	<-g.ended
}

// bareFile is a file that is appended to and flushed.
type bareFile struct{ f *os.File }

func openBareFile(path string) (bareFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return bareFile{f}, err
}

func (b bareFile) write(record []byte) error {
	if _, err := b.f.Write(record); err != nil {
		return err
	}
	return unix.Fdatasync(int(b.f.Fd()))
}

func (b bareFile) close() error { return b.f.Close() }
