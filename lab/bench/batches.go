package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// batches makes a gate's batches without a journal: the server's share of the work is measured without the gate's.
type batches struct {
	journal visit.JournalID
	sealer  *visit.Sealer
	prev    visit.Chain
	seq     uint64 // of the last record
	record  int    // bytes of a record before it is sealed
}

func newBatches(key visit.SealPublicKey) (*batches, error) {
	b := &batches{}
	_, _ = rand.Read(b.journal[:])
	b.prev = visit.Genesis(b.journal)
	var err error
	b.sealer, err = visit.NewSealer(key, benchFacility, benchGate, 1)
	return b, err
}

// next returns the encoded batch of the next n visits.
func (b *batches) next(n int) ([]byte, error) {
	segment := visit.Segment{Journal: b.journal, Prev: b.prev, Epochs: []visit.Epoch{b.sealer.Epoch()}}
	for range n {
		record, err := newVisit(time.Now()).Marshal()
		if err != nil {
			return nil, err
		}
		b.seq++
		b.record = len(record)
		segment.Records = append(segment.Records, visit.Sealed{Seq: b.seq, Data: b.sealer.Seal(nil, b.seq, record)})
	}
	b.prev = segment.Head()
	return wire.Encode(wire.Batch{Segment: segment, Oldest: segment.Records[0].Seq})
}

// deliver sends a batch made by next and checks that its receipt settles all of it.
func (b *batches) deliver(ctx context.Context, send sender, body []byte) error {
	answer, err := send(ctx, wire.PathVisits, wire.TypeBatch, body)
	if err != nil {
		return err
	}
	receipt, err := wire.Decode[wire.Receipt](answer)
	if err != nil {
		return err
	}
	if receipt.Settled.Through != b.seq || len(receipt.Settled.Refused) > 0 || len(receipt.Alerts) > 0 {
		return fmt.Errorf("receipt settles through %d of %d, refuses %d, alerts %v", receipt.Settled.Through, b.seq, len(receipt.Settled.Refused), receipt.Alerts)
	}
	return nil
}
