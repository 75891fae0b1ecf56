package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// bareDrain is the least that a drain does: read records from a bare bbolt, post them over TLS to a bare server, commit
// the place one has come to.
type bareDrain struct {
	disk   *bareBolt
	server *central
	send   sender
	record int // bytes
	place  uint64
}

func newBareDrain(ctx context.Context, s *site) (b *bareDrain, err error) {
	key, err := visit.GenerateSealKey()
	if err != nil {
		return nil, err
	}
	size, err := journalSizes(ctx, s.path("model"), key.Public())
	if err != nil {
		return nil, err
	}
	b = &bareDrain{record: size.record}
	if b.server, err = startBare(ctx, s); err != nil {
		return nil, err
	}
	if b.send, err = b.server.connect(nil); err == nil {
		b.disk, err = openBareBolt(s.path("bare.db"), size)
	}
	if err != nil {
		return nil, errors.Join(err, b.server.close())
	}
	return b, nil
}

func (b *bareDrain) close() error { return errors.Join(b.disk.close(), b.server.close()) }

// drain fills the database and empties it again; only the latter is timed.
func (b *bareDrain) drain(ctx context.Context) (span, cpu time.Duration, err error) {
	for range backlog / wire.MaxRecords {
		records := make([][]byte, wire.MaxRecords)
		for i := range records {
			records[i] = make([]byte, b.record)
			_, _ = rand.Read(records[i])
		}
		if err := b.disk.update(records...); err != nil {
			return 0, 0, err
		}
	}
	before, err := bothEnds(b.server.process)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for {
		records, err := b.disk.read(b.place, wire.MaxRecords)
		if err != nil {
			return 0, 0, err
		}
		if len(records) == 0 {
			break
		}
		if _, err := b.send(ctx, bareMany, wire.TypeBatch, joinRows(nil, records...)); err != nil {
			return 0, 0, fmt.Errorf("posting to the bare server: %w", err)
		}
		b.place += uint64(len(records))
		if err := b.disk.update(); err != nil {
			return 0, 0, err
		}
	}
	span = time.Since(began)
	after, err := bothEnds(b.server.process)
	return span, after - before, err
}
