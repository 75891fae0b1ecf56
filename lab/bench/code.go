package bench

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const issuerName = "naver"

// scheme is a scheme operator with one issuer.
type scheme struct {
	root   ed25519.PublicKey
	list   []byte // the signed trust list
	issuer ed25519.PrivateKey
}

func newScheme() (scheme, error) {
	root, sign, err := ed25519.GenerateKey(nil)
	if err != nil {
		return scheme{}, err
	}
	public, issuer, err := ed25519.GenerateKey(nil)
	if err != nil {
		return scheme{}, err
	}
	now := time.Now()
	list, err := token.SignTrustList(sign, token.TrustList{
		Version: 1, IssuedAt: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour),
		Issuers: []token.Issuer{{Name: issuerName, Display: "네이버", Keys: []token.IssuerKey{
			{Issuer: issuerName, Public: public, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)},
		}}},
	})
	return scheme{root: root, list: list, issuer: issuer}, err
}

// trust returns the trust list as a gate holds it.
func (s scheme) trust() (*token.Trust, error) {
	t := token.NewTrust(s.root)
	return t, t.Update(s.list)
}

// code returns a code issued now.
func (s scheme) code() (string, error) {
	var cti token.CTI
	if _, err := rand.Read(cti[:]); err != nil {
		return "", err
	}
	return token.Sign(s.issuer, issuerName, time.Now(), cti)
}

// measureCode compares what the gate does to a code until it knows the outcome with a bare Ed25519 check of as many bytes.
func measureCode(ctx context.Context, _ *site) ([]Figure, error) {
	s, err := newScheme()
	if err != nil {
		return nil, err
	}
	trust, err := s.trust()
	if err != nil {
		return nil, err
	}
	const codes = 64
	now := time.Now()
	texts := make([][]byte, codes)
	for i := range texts {
		text, err := s.code()
		if err != nil {
			return nil, err
		}
		texts[i] = []byte(text)
	}
	signed := make([]byte, signedBytes(string(texts[0])))
	public := s.issuer.Public().(ed25519.PublicKey)
	signature := ed25519.Sign(s.issuer, signed)
	next := 0
	whole := timed(func() error {
		next = (next + 1) % codes
		return admit(texts[next], trust, now)
	})
	bare := timed(func() error {
		if !ed25519.Verify(public, signed, signature) {
			return errors.New("bare Ed25519 refuses its own signature")
		}
		return nil
	})
	took, err := interleave(ctx, 3*time.Second, 5000, whole, bare)
	if err != nil {
		return nil, err
	}
	return []Figure{comparedTimes("verify_and_decide", "µs", 1e6, took[0], took[1],
		"one Ed25519 check of as many bytes",
		atMost(1.1, "decoding base45 and COSE and deciding are to cost little beside the signature"))}, nil
}

// signedBytes is how many bytes of a code are signed: two bytes in three characters of base45; of them, all but the
// signature, with 8 bytes of frame (RFC 9052, section 4.4).
func signedBytes(code string) int { return (len(code)-len("KIP1:"))*2/3 - ed25519.SignatureSize + 8 }

// admit is the whole way of a good code up to the decision, save the journal.
func admit(text []byte, trust *token.Trust, now time.Time) error {
	u, err := token.Parse(text)
	if err != nil {
		return err
	}
	c, err := u.Verify(trust)
	if err != nil {
		return err
	}
	facts := firmware.Facts{InService: true, Authenticity: firmware.Genuine, Freshness: c.Fresh(now, 2*time.Second), Durable: true}
	if o := firmware.Decide(facts); o != visit.Admitted {
		return fmt.Errorf("a good code is decided %v", o)
	}
	return nil
}

// measureSeal compares sealing a record with AES-256-GCM over as many bytes.
func measureSeal(ctx context.Context, _ *site) ([]Figure, error) {
	key, err := visit.GenerateSealKey()
	if err != nil {
		return nil, err
	}
	sealer, err := visit.NewSealer(key.Public(), benchFacility, benchGate, 1)
	if err != nil {
		return nil, err
	}
	record, err := newVisit(time.Now()).Marshal()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	const batch = 1000
	buf, seq := make([]byte, 0, visit.MaxSealed), uint64(0)
	sealed := 0
	whole := timed(func() error {
		for range batch {
			seq++
			sealed = len(sealer.Seal(buf, seq, record))
		}
		return nil
	})
	nonce, about := make([]byte, gcm.NonceSize()), make([]byte, 80)
	bare := timed(func() error {
		for range batch {
			gcm.Seal(buf, nonce, record, about)
		}
		return nil
	})
	took, err := interleave(ctx, time.Second, 500, whole, bare)
	if err != nil {
		return nil, err
	}
	return []Figure{
		comparedTimes("seal_record", "ns", 1e9/batch, took[0], took[1],
			"AES-256-GCM over as many bytes",
			atMost(1.5, "nothing but nonce and additional data is made anew for each record; the encapsulation is one an epoch")),
		size("seal_overhead", "bytes", float64(sealed-len(record)), atMost(40, "a record is sent and stored with it; an encapsulation in each would be 1,136")),
	}, nil
}

const (
	benchFacility visit.Facility = "seoul-cafe-1"
	benchGate     visit.Gate     = "entrance"
)

// newVisit returns a visit of a code nobody has shown before.
func newVisit(at time.Time) visit.Visit {
	v := visit.Visit{At: at.UTC().Truncate(time.Millisecond), Issuer: issuerName, Clock: visit.ClockSynced, Skew: 2 * time.Second}
	_, _ = rand.Read(v.CTI[:]) // it does not fail: crypto/rand ends the process instead
	return v
}
