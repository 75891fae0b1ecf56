package wire_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// A gate sends a batch of three records. The server stores two, refuses one for good, and answers with a receipt, which
// the gate settles only because it answers that batch.
func Example() {
	segment := visit.Segment{
		Journal: visit.JournalID{1},
		Prev:    visit.Genesis(visit.JournalID{1}),
		Epochs:  []visit.Epoch{{First: 1, Enc: make([]byte, visit.EncSize)}},
		Records: []visit.Sealed{
			{Seq: 1, Data: bytes.Repeat([]byte{1}, 85)}, {Seq: 2, Data: bytes.Repeat([]byte{2}, 85)}, {Seq: 3, Data: bytes.Repeat([]byte{3}, 85)},
		},
	}
	request, err := wire.Encode(wire.Batch{Segment: segment, Oldest: 1})
	if err != nil {
		log.Fatal(err)
	}

	received, err := wire.DecodeBatch(request) // by the server
	if err != nil {
		log.Fatal(err)
	}
	answer, err := wire.Encode(wire.Receipt{
		Settled: visit.Settlement{
			Journal: received.Segment.Journal, Through: received.Segment.Through(),
			Refused: []visit.Refusal{{Seq: 2, Reason: "unsealable"}},
		},
		ServerTime: 1593572645678,
	})
	if err != nil {
		log.Fatal(err)
	}

	receipt, err := wire.Decode[wire.Receipt](answer) // by the gate
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(received.Segment.Records), "records, settled through", receipt.Settled.Through)
	fmt.Println("refused:", receipt.Settled.Refused)
	fmt.Println("answers the batch:", receipt.Answers(segment) == nil)
	segment.Journal = visit.JournalID{2}
	fmt.Println("answers one of another journal:", receipt.Answers(segment) == nil)
	// Output:
	// 3 records, settled through 3
	// refused: [{2 unsealable}]
	// answers the batch: true
	// answers one of another journal: false
}
