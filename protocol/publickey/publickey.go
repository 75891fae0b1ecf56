// Package publickey says which 32 bytes are taken for somebody's Ed25519 public key. Every register of keys asks it:
// trust lists, officers, roots, audit logs.
package publickey

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

var (
	errText   = fmt.Errorf("not an Ed25519 public key; write its %d bytes as 64 hex digits or as 44 characters of base64", ed25519.PublicKeySize)
	errLength = fmt.Errorf("public key is not %d bytes long", ed25519.PublicKeySize)
	errPoint  = errors.New("public key is not the canonical encoding of a point of edwards25519")
	errOrder  = errors.New("public key is of small order: anybody could sign for it")
)

// The curve edwards25519 is −x² + y² = 1 + d·x²·y² over the integers modulo p (RFC 8032 section 5.1).
var (
	curveP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), curveP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), curveP)
	}()
)

// Check refuses what [ed25519.Verify] would take but nobody owns: for a point of small order a signature can be made
// without a private key. A key is the canonical encoding (RFC 8032 section 5.1.3) of a point of the curve whose order is
// not small, so that one key has one form.
func Check(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return errLength
	}
	b := slices.Clone(pub)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(b)
	if y.Cmp(curveP) >= 0 {
		return errPoint
	}
	one := big.NewInt(1)
	y2 := new(big.Int).Mul(y, y)
	dy2 := new(big.Int).Mul(curveD, y2)
	u := new(big.Int).Sub(y2, one)  // x² = u / v
	v := new(big.Int).Add(dy2, one) // never 0: −1/d is no square
	uv := new(big.Int).Mul(u, v)
	if big.Jacobi(uv.Mod(uv, curveP), curveP) < 0 {
		return errPoint
	}
	// Order 1 or 2: y = ±1. Order 4: y = 0. Order 8: doubling gives y = 0, which is y² = −x², or d·y⁴ + 2y² − 1 = 0.
	order8 := new(big.Int).Mul(dy2, y2)
	order8.Add(order8, new(big.Int).Lsh(y2, 1)).Sub(order8, one)
	small := order8.Mul(order8, u).Mul(order8, y)
	if small.Mod(small, curveP).Sign() == 0 {
		return errOrder
	}
	return nil
}

// Parse reads a key that Check takes from what a person typed or pasted: 64 hexadecimal digits, or base64 (RFC 4648 section
// 4 or 5) with or without padding.
func Parse(text string) (ed25519.PublicKey, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.RawStdEncoding.Strict().DecodeString, base64.RawURLEncoding.Strict().DecodeString,
	} {
		if b, err := decode(text); err == nil && len(b) == ed25519.PublicKeySize {
			if err := Check(b); err != nil {
				return nil, err
			}
			return b, nil
		}
	}
	return nil, errText
}
