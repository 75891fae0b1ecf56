package order_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"github.com/kipass/kipass/protocol/order"
)

// The authority certifies who gets the answers, one officer signs, another approves, and each side that is asked checks
// all three against its own register of officers and the authority's root. The issuer is told neither place nor purpose.
func Example() {
	key := func(seed byte) ed25519.PrivateKey { // of a test, never of a real officer
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	}
	kim, lee := key(1), key(2)
	now := time.Date(2020, 7, 10, 9, 0, 0, 0, time.UTC)

	// The authority certifies the key to which answers will be encrypted, for this order alone and after logging it.
	root := key(8)
	draft, err := order.NewDraft(order.Order{
		ID: order.NewID(), Case: "2020-0701-17", Officer: "kim", Purpose: "접촉자 조사", Facility: "hongdae-12",
		From: now.Add(-48 * time.Hour), To: now.Add(-24 * time.Hour), IssuedAt: now, Expires: now.Add(24 * time.Hour),
	})
	if err != nil {
		log.Fatal(err)
	}
	recipient, err := draft.Certify(root, order.Certification{
		Authority: "질병관리본부", Recipient: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", Entry: 12,
	})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := draft.Sign(kim, recipient)
	if err != nil {
		log.Fatal(err)
	}
	_, err = order.Approve(kim, signed)
	fmt.Println(err)
	approved, err := order.Approve(lee, signed)
	if err != nil {
		log.Fatal(err)
	}
	forIssuer, err := order.ForIssuer(approved)
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
	trusted := order.Trusted{Officers: officers, Root: root.Public().(ed25519.PublicKey)}
	o, err := order.Verify(approved, trusted, now)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("visit server: case %s, %s, by %s, approved by %s, answers to %s certified by %s\n",
		o.Case, o.Facility, o.Officer, o.Approver, o.Recipient.Fingerprint(), o.Recipient.Authority)
	if o, err = order.VerifyForIssuer(forIssuer, trusted, now); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("issuer: case %s, place %q, purpose %q\n", o.Case, o.Facility, o.Purpose)
	_, err = order.Verify(approved, trusted, now.Add(25*time.Hour))
	fmt.Println("a day later it has expired:", err != nil)

	// Output:
	// order refused: an order must be approved by another officer than the one who signed it
	// visit server: case 2020-0701-17, hongdae-12, by kim, approved by lee, answers to 6a80 4773 9828 40fa 7eae certified by 질병관리본부
	// issuer: case 2020-0701-17, place "", purpose ""
	// a day later it has expired: true
}
