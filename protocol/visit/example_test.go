package visit_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/kipass/kipass/protocol/visit"
)

// A gate seals a visit to the visit server's public key. The server opens it, but only for the place it was sealed at.
func Example() {
	key, err := visit.GenerateSealKey() // the server's
	if err != nil {
		log.Fatal(err)
	}

	sealer, err := visit.NewSealer(key.Public(), "cafe-hangang", "gate-1", 1) // an epoch of the gate, from record 1 on
	if err != nil {
		log.Fatal(err)
	}
	record, err := visit.Visit{
		At: time.Date(2020, 7, 1, 3, 4, 5, 678_000_000, time.UTC), Issuer: "naver", Clock: visit.ClockSynced, Skew: 2 * time.Second,
	}.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	sealed := visit.Sealed{Seq: 1, Data: sealer.Seal(nil, 1, record)}
	fmt.Println(len(record), "bytes, sealed", len(sealed.Data))

	opener, err := visit.NewOpener(key, "cafe-hangang", "gate-1", sealer.Epoch())
	if err != nil {
		log.Fatal(err)
	}
	v, err := opener.Open(sealed.Seq, sealed.Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Issuer, v.At, v.Clock, v.CTI)

	elsewhere, err := visit.NewOpener(key, "cafe-hangang", "gate-2", sealer.Epoch())
	if err != nil {
		log.Fatal(err)
	}
	_, err = elsewhere.Open(sealed.Seq, sealed.Data)
	fmt.Println(err, errors.Is(err, visit.ErrUnsealable))
	// Output:
	// 68 bytes, sealed 84
	// naver 2020-07-01 03:04:05.678 +0000 UTC synced cti(redacted)
	// record 1: cannot be unsealed true
}
