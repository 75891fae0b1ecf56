package token

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// MaxTrustList is the longest signed trust list in bytes that is looked at: room for several hundred issuers.
const MaxTrustList = 64 << 10

// ErrTrustList is wrapped by every refusal of a trust list; [ErrRollback] is the one of them a caller may branch on.
var (
	ErrTrustList = errors.New("trust list refused")
	ErrRollback  = errors.New("older than, or different from, the list already held")
)

// TrustList says which issuers' keys make genuine codes. It is signed by the scheme operator's root key.
type TrustList struct {
	Version  uint64    // rises with every list
	IssuedAt time.Time // whole seconds
	Expires  time.Time // past it the list still works, but visits are marked as read under a stale list
	Issuers  []Issuer
}

// Issuer is one QR issuer of the scheme.
type Issuer struct {
	Name    string // short name, 1 to 16 of a–z, 0–9 and '-'
	Display string // name for people, for example "네이버"
	URL     string // where the issuer answers the health authority's orders; may be empty
	Keys    []IssuerKey
}

type wireList struct {
	Format   uint8        `cbor:"0,keyasint"`
	Version  uint64       `cbor:"1,keyasint"`
	IssuedAt int64        `cbor:"2,keyasint"`
	Expires  int64        `cbor:"3,keyasint"`
	Issuers  []wireIssuer `cbor:"4,keyasint"`
}

type wireIssuer struct {
	Name    string    `cbor:"1,keyasint"`
	Display string    `cbor:"2,keyasint"`
	Keys    []wireKey `cbor:"3,keyasint"`
	URL     string    `cbor:"4,keyasint,omitempty"`
}

type wireKey struct {
	Public    []byte `cbor:"1,keyasint"`
	NotBefore int64  `cbor:"2,keyasint"`
	NotAfter  int64  `cbor:"3,keyasint"`
}

const listFormat = 1

// listMode reads as strictly as decMode, and the two levels deeper that a list has than a code.
var listMode = must(cbor.DecOptions{
	DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
	MaxNestedLevels: 6, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
}.DecMode())

// SignTrustList returns the signed form of t: a tagged COSE_Sign1, deterministically encoded.
func SignTrustList(root ed25519.PrivateKey, t TrustList) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	w := wireList{Format: listFormat, Version: t.Version, IssuedAt: t.IssuedAt.Unix(), Expires: t.Expires.Unix()}
	for _, i := range t.Issuers {
		wi := wireIssuer{Name: i.Name, Display: i.Display, URL: i.URL}
		for _, k := range i.Keys {
			wi.Keys = append(wi.Keys, wireKey{Public: k.Public, NotBefore: k.NotBefore.Unix(), NotAfter: k.NotAfter.Unix()})
		}
		w.Issuers = append(w.Issuers, wi)
	}
	payload, err := encMode.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encoding trust list: %w", err)
	}
	return sign1(root, payload)
}

// OpenTrustList checks signature and form of a signed list. Errors wrap [ErrTrustList].
func OpenTrustList(root ed25519.PublicKey, raw []byte) (TrustList, error) {
	if len(raw) > MaxTrustList {
		return TrustList{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTrustList, len(raw), MaxTrustList)
	}
	msg := cose.NewSign1Message()
	if err := msg.UnmarshalCBOR(raw); err != nil {
		return TrustList{}, fmt.Errorf("%w: not a tagged COSE_Sign1", ErrTrustList)
	}
	if !bytes.Equal(msg.Headers.RawProtected, protectedHeader(KeyID(root))) || !bytes.Equal(msg.Headers.RawUnprotected, []byte{0xa0}) {
		return TrustList{}, fmt.Errorf("%w: not signed by root key %v", ErrTrustList, KeyID(root))
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, root)
	if err != nil {
		return TrustList{}, fmt.Errorf("%w: root key: %v", ErrTrustList, err)
	}
	if err := msg.Verify(nil, verifier); err != nil {
		return TrustList{}, fmt.Errorf("%w: signature does not match root key %v", ErrTrustList, KeyID(root))
	}
	var w wireList
	if err := listMode.Unmarshal(msg.Payload, &w); err != nil {
		return TrustList{}, fmt.Errorf("%w: %v", ErrTrustList, err)
	}
	if w.Format != listFormat {
		return TrustList{}, fmt.Errorf("%w: format %d, this program reads format %d", ErrTrustList, w.Format, listFormat)
	}
	t := TrustList{Version: w.Version, IssuedAt: time.Unix(w.IssuedAt, 0).UTC(), Expires: time.Unix(w.Expires, 0).UTC()}
	for _, wi := range w.Issuers {
		i := Issuer{Name: wi.Name, Display: wi.Display, URL: wi.URL}
		for _, k := range wi.Keys {
			i.Keys = append(i.Keys, IssuerKey{
				Issuer: wi.Name, Public: k.Public, NotBefore: time.Unix(k.NotBefore, 0).UTC(), NotAfter: time.Unix(k.NotAfter, 0).UTC(),
			})
		}
		t.Issuers = append(t.Issuers, i)
	}
	if err := t.check(); err != nil {
		return TrustList{}, err
	}
	return t, nil
}

func (t TrustList) check() error {
	if t.Version == 0 {
		return fmt.Errorf("%w: version 0, must be at least 1", ErrTrustList)
	}
	if !t.Expires.After(t.IssuedAt) {
		return fmt.Errorf("%w: version %d expires before it was issued", ErrTrustList, t.Version)
	}
	names, keys := map[string]bool{}, map[KID]bool{}
	for _, i := range t.Issuers {
		if !validIssuer(i.Name) || names[i.Name] {
			return fmt.Errorf("%w: version %d: issuer %q is named badly or twice", ErrTrustList, t.Version, i.Name)
		}
		names[i.Name] = true
		for _, k := range i.Keys {
			kid := KeyID(k.Public)
			if len(k.Public) != ed25519.PublicKeySize || keys[kid] {
				return fmt.Errorf("%w: version %d: key %v of %s has the wrong length or stands twice", ErrTrustList, t.Version, kid, i.Name)
			}
			keys[kid] = true
		}
	}
	return nil
}

// Trust is the trust list in force at a gate. It is a [Keyring]; reading it never blocks.
type Trust struct {
	root ed25519.PublicKey
	held atomic.Pointer[heldList]
}

type heldList struct {
	list TrustList
	raw  []byte
	keys map[KID]IssuerKey
}

// NewTrust returns a Trust that holds no list yet: every issuer is unknown until [Trust.Update].
func NewTrust(root ed25519.PublicKey) *Trust {
	t := &Trust{root: root}
	t.held.Store(&heldList{})
	return t
}

// Update takes raw into force if it is signed by the root and newer than the list held. The list already held is
// accepted again without effect. Errors wrap [ErrTrustList], and [ErrRollback] where the version is not newer; the list
// held then stays in force. The caller keeps raw across restarts, else roll-back protection ends with the process.
func (t *Trust) Update(raw []byte) error {
	list, err := OpenTrustList(t.root, raw)
	if err != nil {
		return err
	}
	next := &heldList{list: list, raw: bytes.Clone(raw), keys: map[KID]IssuerKey{}}
	for _, i := range list.Issuers {
		for _, k := range i.Keys {
			next.keys[KeyID(k.Public)] = k
		}
	}
	for {
		held := t.held.Load()
		if bytes.Equal(held.raw, raw) {
			return nil
		}
		if list.Version <= held.list.Version {
			return fmt.Errorf("%w: version %d offered, version %d held: %w", ErrTrustList, list.Version, held.list.Version, ErrRollback)
		}
		if t.held.CompareAndSwap(held, next) {
			return nil
		}
	}
}

// Key implements [Keyring].
func (t *Trust) Key(kid KID) (IssuerKey, bool) {
	k, ok := t.held.Load().keys[kid]
	return k, ok
}

// Version returns the version in force, 0 for none.
func (t *Trust) Version() uint64 { return t.held.Load().list.Version }

// Stale reports whether the list in force is past its expiry at now. No list at all is stale.
func (t *Trust) Stale(now time.Time) bool { return now.After(t.held.Load().list.Expires) }
