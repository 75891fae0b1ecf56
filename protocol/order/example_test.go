package order_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"github.com/kipass/kipass/protocol/order"
)

// One officer signs, another approves, and each side that is asked checks both against its own register of officers. The
// issuer is given the order without the place.
func Example() {
	key := func(seed byte) ed25519.PrivateKey { // of a test, never of a real officer
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	kim, lee := key(1), key(2)
	now := time.Date(2020, 7, 10, 9, 0, 0, 0, time.UTC)

	// The authority.
	signed, err := order.Sign(kim, order.Order{
		ID: order.NewID(), Case: "2020-0701-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-48 * time.Hour), To: now.Add(-24 * time.Hour),
		Recipient: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
		IssuedAt:  now, Expires: now.Add(24 * time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = order.Approve(kim, signed)
	fmt.Println(err)
	approved, err := order.Approve(lee, signed)
	if err != nil {
		log.Fatal(err)
	}
	forIssuer, err := order.WithoutPlace(approved)
	if err != nil {
		log.Fatal(err)
	}

	// Whoever is asked.
	officers, err := order.NewOfficers(
		order.Officer{Name: "kim", Public: kim.Public().(ed25519.PublicKey)},
		order.Officer{Name: "lee", Public: lee.Public().(ed25519.PublicKey)},
	)
	if err != nil {
		log.Fatal(err)
	}
	o, err := order.Verify(approved, officers, now)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("visit server: case %s, %s, by %s, approved by %s\n", o.Case, o.Facility, o.Officer, o.Approver)
	if o, err = order.VerifyWithoutPlace(forIssuer, officers, now); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("issuer: case %s, place %q\n", o.Case, o.Facility)
	_, err = order.Verify(approved, officers, now.Add(25*time.Hour))
	fmt.Println("a day later it has expired:", err != nil)

	// Output:
	// order refused: an order must be approved by another officer than the one who signed it
	// visit server: case 2020-0701-17, hongdae-12, by kim, approved by lee
	// issuer: case 2020-0701-17, place ""
	// a day later it has expired: true
}
