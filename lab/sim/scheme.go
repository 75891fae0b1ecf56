package sim

import (
	"crypto/ed25519"
	"encoding/hex"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// scheme is the operator of the scheme, who signs the trust list.
type scheme struct {
	root    ed25519.PrivateKey
	version uint64
	newest  []byte       // the trust list in force, signed
	trust   *token.Trust // what everybody is told, for reading the codes of the crowd
}

func newScheme() *scheme {
	public, root, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return &scheme{root: root, trust: token.NewTrust(public)}
}

func (s *scheme) public() string { return hex.EncodeToString(s.root.Public().(ed25519.PublicKey)) }

// sign makes the next trust list, of these issuers.
func (s *scheme) sign(issuers []*issuerParty) ([]byte, error) {
	s.version++
	now := time.Now().UTC().Truncate(time.Second)
	list := token.TrustList{Version: s.version, IssuedAt: now, Expires: now.Add(365 * 24 * time.Hour)}
	for _, i := range issuers {
		list.Issuers = append(list.Issuers, i.about)
	}
	var err error
	if s.newest, err = token.SignTrustList(s.root, list); err != nil {
		return nil, err
	}
	return s.newest, s.trust.Update(s.newest)
}
