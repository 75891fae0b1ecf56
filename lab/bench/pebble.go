package bench

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/kipass/kipass/visitserver/store"
)

// barePebble is Pebble set up as the visit server's store sets it up, with nothing around it: no check whether a visit is
// there already, no counts, no lock.
type barePebble struct {
	db         *pebble.DB
	key, value []byte
	rows       uint64 // that keep has kept
}

func openBarePebble(dir string) (*barePebble, error) {
	o := &pebble.Options{FormatMajorVersion: pebble.FormatNewest, MemTableSize: 32 << 20, Logger: silent{}}
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	return &barePebble{db: db}, err
}

// put commits a batch: for each row one key of its identity and one with its content.
func (b *barePebble) put(rows []store.Row) error {
	batch := b.db.NewBatchWithSize(len(rows) * 320)
	defer batch.Close()
	for _, r := range rows {
		ms := uint64(r.At.UnixMilli())
		b.key = append(append(append(b.key[:0], 'x'), r.Blind[:]...), benchFacility...)
		b.value = binary.BigEndian.AppendUint64(b.value[:0], ms)
		if err := batch.Set(b.key, b.value, nil); err != nil {
			return err
		}
		b.key = binary.BigEndian.AppendUint64(append(append(append(b.key[:0], 'v'), benchFacility...), 0), ms)
		b.key = append(b.key, r.Blind[:]...)
		b.value = append(append(append(b.value[:0], byte(len(r.Gate))), r.Gate...), r.Sealed...)
		if err := batch.Set(b.key, b.value, nil); err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

// bareRow is about as long as a visit's row: its gate, and its record with what sealing adds.
const bareRow = 130

var padding, account [bareRow]byte

// keep commits rows of any content, and what a visit server notes of the gate that has sent them: for each row the keys of
// put, and a value as long as a row's.
func (b *barePebble) keep(rows [][]byte) error {
	batch := b.db.NewBatchWithSize(len(rows)*320 + bareRow)
	defer batch.Close()
	for _, r := range rows {
		b.rows++
		b.key = binary.BigEndian.AppendUint64(append(append(b.key[:0], 'x'), r[:min(len(r), 8)]...), b.rows)
		b.value = binary.BigEndian.AppendUint64(b.value[:0], b.rows)
		if err := batch.Set(append(b.key, benchFacility...), b.value, nil); err != nil {
			return err
		}
		b.key = binary.BigEndian.AppendUint64(append(append(append(b.key[:0], 'v'), benchFacility...), 0), b.rows)
		b.key = append(b.key, padding[:16]...)
		b.value = append(append(b.value[:0], r...), padding[min(len(r), bareRow):]...)
		if err := batch.Set(b.key, b.value, nil); err != nil {
			return err
		}
	}
	if err := batch.Set([]byte("account"), account[:], nil); err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}

func (b *barePebble) close() error { return b.db.Close() }

// silent keeps Pebble's notices from the progress.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }
