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

func (b *barePebble) close() error { return b.db.Close() }

// silent keeps Pebble's notices from the progress.
type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }
