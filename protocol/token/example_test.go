package token_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// An issuer signs a code, and a gate reads it in three steps with three results.
func Example() {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)) // the issuer's
	root := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	issued := time.Date(2020, 7, 1, 3, 4, 5, 0, time.UTC)

	// The scheme operator vouches for the issuer's key, and every gate has the list.
	list, err := token.SignTrustList(root, token.TrustList{
		Version: 1, IssuedAt: issued.AddDate(0, -1, 0), Expires: issued.AddDate(0, 1, 0),
		Issuers: []token.Issuer{{Name: "naver", Display: "네이버", Keys: []token.IssuerKey{{
			Issuer: "naver", Public: key.Public().(ed25519.PublicKey),
			NotBefore: issued.AddDate(0, -1, 0), NotAfter: issued.AddDate(1, 0, 0),
		}}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	trust := token.NewTrust(root.Public().(ed25519.PublicKey))
	if err := trust.Update(list); err != nil {
		log.Fatal(err)
	}

	text, err := token.Sign(key, "naver", issued, token.CTI{})
	if err != nil {
		log.Fatal(err)
	}
	unverified, err := token.Parse([]byte(text)) // is it an entry code?
	if err != nil {
		log.Fatal(err)
	}
	code, err := unverified.Verify(trust) // is it genuine?
	if err != nil {
		log.Fatal(err)
	}
	const skew = 2 * time.Second
	fmt.Println(code)
	fmt.Println("after 10 s:", code.Fresh(issued.Add(10*time.Second), skew)) // is it of now?
	fmt.Println("after 20 s:", code.Fresh(issued.Add(20*time.Second), skew))

	_, err = token.Parse([]byte("8801062518210"))
	fmt.Println(err)
	// Output:
	// code of naver issued at 1593572645
	// after 10 s: fresh
	// after 20 s: expired
	// not an entry code: does not begin with "KIP1:"
}
