package issuer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// OpenRegistration takes every applicant at their word. It is for trying the system out, never for real visitors.
type OpenRegistration struct{}

// Admit implements [Registrar].
func (OpenRegistration) Admit(context.Context, Identity, string) error { return nil }

// OperatorToken admits whoever presents the operator's token: the operator has seen the applicant and the phone, and
// vouches for both.
type OperatorToken struct{ digest [32]byte }

// NewOperatorToken returns the registrar for one token.
func NewOperatorToken(token string) OperatorToken {
	return OperatorToken{digest: sha256.Sum256([]byte(token))}
}

// Admit implements [Registrar].
func (t OperatorToken) Admit(_ context.Context, _ Identity, proof string) error {
	got := sha256.Sum256([]byte(proof))
	if subtle.ConstantTimeCompare(got[:], t.digest[:]) != 1 {
		return fmt.Errorf("%w: registration needs the operator's token", ErrIdentity)
	}
	return nil
}
