package token

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

var (
	errKeyLength = fmt.Errorf("public key is not %d bytes long", ed25519.PublicKeySize)
	errKeyPoint  = errors.New("public key is not the canonical encoding of a point of edwards25519")
	errKeyOrder  = errors.New("public key is of small order: anybody could sign for it")
)

// The curve edwards25519 is −x² + y² = 1 + d·x²·y² over the integers modulo p (RFC 8032 section 5.1).
var (
	curveP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), curveP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), curveP)
	}()
)

// checkPublicKey refuses what [ed25519.Verify] would take but nobody owns: for a point of small order a signature can
// be made without a private key. It works on the public y coordinate only.
func checkPublicKey(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return errKeyLength
	}
	b := slices.Clone(pub)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(b)
	if y.Cmp(curveP) >= 0 {
		return errKeyPoint
	}
	one := big.NewInt(1)
	y2 := new(big.Int).Mul(y, y)
	dy2 := new(big.Int).Mul(curveD, y2)
	u := new(big.Int).Sub(y2, one)  // x² = u / v
	v := new(big.Int).Add(dy2, one) // never 0: −1/d is no square
	uv := new(big.Int).Mul(u, v)
	if big.Jacobi(uv.Mod(uv, curveP), curveP) < 0 {
		return errKeyPoint
	}
	// Order 1 or 2: y = ±1. Order 4: y = 0. Order 8: doubling gives y = 0, which is y² = −x², or d·y⁴ + 2y² − 1 = 0.
	order8 := new(big.Int).Mul(dy2, y2)
	order8.Add(order8, new(big.Int).Lsh(y2, 1)).Sub(order8, one)
	small := order8.Mul(order8, u).Mul(order8, y)
	if small.Mod(small, curveP).Sign() == 0 {
		return errKeyOrder
	}
	return nil
}
