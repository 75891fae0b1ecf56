package sim

import (
	"crypto/ed25519"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// scheme is the operator of the scheme, who signs the trust list.
type scheme struct {
	root    ed25519.PrivateKey
	version uint64
	newest  []byte // the trust list in force, signed
	list    token.TrustList
	changed time.Time // when the list was last changed

	// The crowd reads its codes whoever has signed them: by lists of all keys that there ever were.
	every  map[string]token.Issuer
	reader ed25519.PrivateKey // signs these lists
	read   uint64             // version
	trust  *token.Trust       // for reading the codes of the crowd
}

func newScheme() *scheme {
	_, root, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	public, reader, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return &scheme{root: root, trust: token.NewTrust(public), reader: reader, every: map[string]token.Issuer{}}
}

func (s *scheme) public() string { return hex.EncodeToString(s.root.Public().(ed25519.PublicKey)) }

// sign makes the next trust list, of these issuers.
func (s *scheme) sign(issuers []*issuerParty) ([]byte, error) {
	s.version++
	now := time.Now().UTC().Truncate(time.Second)
	list := token.TrustList{Version: s.version, IssuedAt: now, Expires: now.Add(365 * 24 * time.Hour)}
	for _, i := range issuers {
		s.meet(i.about)
		told := i.about
		told.Keys = slices.DeleteFunc(slices.Clone(told.Keys), func(k token.IssuerKey) bool { return i.revoked[token.KeyID(k.Public).String()] })
		list.Issuers = append(list.Issuers, told)
	}
	var err error
	s.newest, err = token.SignTrustList(s.root, list)
	s.list = list
	return s.newest, err
}

// meet lets the crowd know an issuer's keys.
func (s *scheme) meet(i token.Issuer) {
	known := s.every[i.Name]
	for _, k := range i.Keys {
		if !slices.ContainsFunc(known.Keys, func(old token.IssuerKey) bool { return old.Public.Equal(k.Public) }) {
			known.Keys = append(known.Keys, k)
		}
	}
	i.Keys = known.Keys
	s.every[i.Name] = i
	s.read++
	now := time.Now().UTC().Truncate(time.Second)
	list := token.TrustList{Version: s.read, IssuedAt: now, Expires: now.Add(365 * 24 * time.Hour)}
	for _, name := range slices.Sorted(maps.Keys(s.every)) {
		list.Issuers = append(list.Issuers, s.every[name])
	}
	raw, err := token.SignTrustList(s.reader, list)
	if err == nil {
		err = s.trust.Update(raw)
	}
	if err != nil {
		panic(err)
	}
}
