package token

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kipass/kipass/protocol/publickey"
)

// Limits of a trust list.
const (
	MaxTrustList = 64 << 10 // bytes of a signed list that are looked at: room for several hundred issuers
	MaxDisplay   = 64       // characters of an issuer's name for people
	MaxURL       = 256      // bytes of an issuer's address
)

// ErrTrustList is wrapped by every refusal of a trust list; [ErrRollback] is the one of them a caller may branch on.
var (
	ErrTrustList = errors.New("trust list refused")
	ErrRollback  = errors.New("older than, or different from, the list already held")
)

// TrustList says which issuers' keys make genuine codes. It is signed by the scheme operator's root key.
type TrustList struct {
	Version  uint64    // from 1; rises with every list
	IssuedAt time.Time // whole seconds
	Expires  time.Time // whole seconds; past it the list still works, but visits are marked as read under a stale list
	Issuers  []Issuer  // each name once
}

// Issuer is one QR issuer of the scheme.
type Issuer struct {
	Name    string      // short name, 1 to 16 of a–z, 0–9 and '-'
	Display string      // name for people, for example "네이버": at most MaxDisplay printable characters
	URL     string      // https address where the issuer answers the health authority's orders; may be empty
	Keys    []IssuerKey // each key once in the whole list; their Issuer is Name
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

// SignTrustList returns the signed form of t: a tagged COSE_Sign1, deterministically encoded, at most [MaxTrustList]
// bytes. Times are cut to whole seconds. A list that [OpenTrustList] would refuse is not signed.
func SignTrustList(root ed25519.PrivateKey, t TrustList) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrustList, err)
	}
	payload, err := encMode.Marshal(t.wire())
	if err != nil {
		return nil, fmt.Errorf("encoding trust list: %w", err)
	}
	raw, err := sign1(root, payload)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxTrustList {
		return nil, fmt.Errorf("%w: %d bytes long, at most %d are read", ErrTrustList, len(raw), MaxTrustList)
	}
	return raw, nil
}

// OpenTrustList checks signature and form of a signed list. It keeps nothing of raw. Errors wrap [ErrTrustList].
func OpenTrustList(root ed25519.PublicKey, raw []byte) (TrustList, error) {
	t, err := openTrustList(root, raw)
	if err != nil {
		return TrustList{}, fmt.Errorf("%w: %w", ErrTrustList, err)
	}
	return t, nil
}

// ReadTrustList opens the signed list in a file, of which it reads no more than [MaxTrustList] bytes and one.
func ReadTrustList(root ed25519.PublicKey, path string) (TrustList, error) {
	file, err := os.Open(path)
	if err != nil {
		return TrustList{}, fmt.Errorf("reading the trust list: %w", err)
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, MaxTrustList+1))
	if err != nil {
		return TrustList{}, fmt.Errorf("reading the trust list: %w", err)
	}
	list, err := OpenTrustList(root, raw)
	if err != nil {
		return TrustList{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return list, nil
}

func openTrustList(root ed25519.PublicKey, raw []byte) (TrustList, error) {
	if err := publickey.Check(root); err != nil {
		return TrustList{}, fmt.Errorf("root key: %w", err)
	}
	if len(raw) > MaxTrustList {
		return TrustList{}, fmt.Errorf("%d bytes long, at most %d are read", len(raw), MaxTrustList)
	}
	kid, msg, err := parseSign1(raw)
	if err != nil {
		return TrustList{}, err
	}
	if want := KeyID(root); kid != want {
		return TrustList{}, fmt.Errorf("signed by key %v, the root key is %v", kid, want)
	}
	if !verifySign1(msg, root) {
		return TrustList{}, fmt.Errorf("signature does not match root key %v", kid)
	}
	var w wireList
	if err := listMode.Unmarshal(msg.Payload, &w); err != nil {
		return TrustList{}, fmt.Errorf("reading payload: %w", err)
	}
	if w.Format != listFormat {
		return TrustList{}, fmt.Errorf("format %d, this program reads format %d", w.Format, listFormat)
	}
	if again, err := encMode.Marshal(w); err != nil || !bytes.Equal(again, msg.Payload) {
		return TrustList{}, errEncoding
	}
	t := w.list()
	if err := t.check(); err != nil {
		return TrustList{}, err
	}
	return t, nil
}

func (t TrustList) wire() wireList {
	w := wireList{Format: listFormat, Version: t.Version, IssuedAt: t.IssuedAt.Unix(), Expires: t.Expires.Unix()}
	for _, i := range t.Issuers {
		wi := wireIssuer{Name: i.Name, Display: i.Display, URL: i.URL}
		for _, k := range i.Keys {
			wi.Keys = append(wi.Keys, wireKey{Public: k.Public, NotBefore: k.NotBefore.Unix(), NotAfter: k.NotAfter.Unix()})
		}
		w.Issuers = append(w.Issuers, wi)
	}
	return w
}

func (w wireList) list() TrustList {
	at := func(sec int64) time.Time { return time.Unix(sec, 0).UTC() }
	t := TrustList{Version: w.Version, IssuedAt: at(w.IssuedAt), Expires: at(w.Expires)}
	for _, wi := range w.Issuers {
		i := Issuer{Name: wi.Name, Display: wi.Display, URL: wi.URL}
		for _, k := range wi.Keys {
			i.Keys = append(i.Keys, IssuerKey{Issuer: wi.Name, Public: k.Public, NotBefore: at(k.NotBefore), NotAfter: at(k.NotAfter)})
		}
		t.Issuers = append(t.Issuers, i)
	}
	return t
}

// check holds the rules that signing and opening share.
func (t TrustList) check() error {
	if t.Version == 0 {
		return errors.New("version 0, must be at least 1")
	}
	if err := checkSpan(t.IssuedAt, t.Expires); err != nil || t.Expires.Unix() == t.IssuedAt.Unix() {
		return fmt.Errorf("version %d: does not expire after it was issued, or a time is out of range", t.Version)
	}
	names, keys := map[string]bool{}, map[KID]bool{}
	for _, i := range t.Issuers {
		if err := i.check(); err != nil {
			return fmt.Errorf("version %d: issuer %q: %w", t.Version, i.Name, err)
		}
		if names[i.Name] {
			return fmt.Errorf("version %d: issuer %q stands twice", t.Version, i.Name)
		}
		names[i.Name] = true
		for _, k := range i.Keys {
			kid := KeyID(k.Public)
			if keys[kid] {
				return fmt.Errorf("version %d: key %v stands twice", t.Version, kid)
			}
			keys[kid] = true
		}
	}
	return nil
}

func (i Issuer) check() error {
	if !validIssuer(i.Name) {
		return errors.New("name must be 1 to 16 of a-z, 0-9 and '-'")
	}
	if !utf8.ValidString(i.Display) || utf8.RuneCountInString(i.Display) > MaxDisplay {
		return fmt.Errorf("display name must be at most %d characters of UTF-8", MaxDisplay)
	}
	for _, r := range i.Display {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("display name holds the unprintable character %U", r)
		}
	}
	if u, err := url.Parse(i.URL); i.URL != "" && (err != nil || len(i.URL) > MaxURL || u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("address must begin with https:// and be at most %d bytes long", MaxURL)
	}
	for _, k := range i.Keys {
		if k.Issuer != "" && k.Issuer != i.Name {
			return fmt.Errorf("key %v is another issuer's, %q", KeyID(k.Public), k.Issuer)
		}
		if err := publickey.Check(k.Public); err != nil {
			return fmt.Errorf("key %v: %w", KeyID(k.Public), err)
		}
		if err := checkSpan(k.NotBefore, k.NotAfter); err != nil {
			return fmt.Errorf("key %v: %w", KeyID(k.Public), err)
		}
	}
	return nil
}

// checkSpan refuses a span that ends before it begins, and times before 1970 or after 9999.
func checkSpan(from, to time.Time) error {
	if from.Unix() < 0 || to.Unix() > maxTime || to.Unix() < from.Unix() {
		return errors.New("its time ends before it begins, or is not within the years 1970 to 9999")
	}
	return nil
}
