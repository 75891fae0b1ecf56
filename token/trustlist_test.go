package token

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"
)

func TestTrustListReadsBackWhole(t *testing.T) {
	root := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	at := time.Unix(1593600000, 0).UTC()
	key := func(seed byte) IssuerKey {
		pub := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
		return IssuerKey{Public: pub, NotBefore: at, NotAfter: at.Add(time.Hour)}
	}
	want := TrustList{Version: 3, IssuedAt: at, Expires: at.Add(time.Hour), Issuers: []Issuer{
		{Name: "naver", Display: "네이버", URL: "https://naver.example.kr", Keys: []IssuerKey{key(2), key(3)}},
		{Name: "pass", Display: "PASS", Keys: []IssuerKey{key(4)}},
	}}
	raw, err := SignTrustList(root, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenTrustList(root.Public().(ed25519.PublicKey), raw)
	if err != nil {
		t.Fatal(err)
	}
	if got.Version != 3 || !got.IssuedAt.Equal(at) || !got.Expires.Equal(want.Expires) || len(got.Issuers) != 2 {
		t.Fatalf("list reads back as %+v", got)
	}
	for i, issuer := range got.Issuers {
		w := want.Issuers[i]
		if issuer.Name != w.Name || issuer.Display != w.Display || issuer.URL != w.URL || len(issuer.Keys) != len(w.Keys) {
			t.Errorf("issuer %d reads back as %+v", i, issuer)
		}
		for j, k := range issuer.Keys {
			if k.Issuer != w.Name || !k.Public.Equal(w.Keys[j].Public) || !k.NotBefore.Equal(at) || !k.NotAfter.Equal(at.Add(time.Hour)) {
				t.Errorf("key %d of %s reads back as %+v", j, w.Name, k)
			}
		}
	}
}
