package issuer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kipass/kipass/internal/durable"
)

// tokens are those with which holders may be registered, by the name of who has them: the SHA-256 of each. They are random
// and long, so a plain hash does not help to guess one. The file has one a line: name, space, 64 hexadecimal digits.
type tokens map[string][sha256.Size]byte

const maxTokenName = 32

func checkTokenName(name string) error {
	stray := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	if name == "" || len(name) > maxTokenName || strings.ContainsFunc(name, stray) {
		return fmt.Errorf("name of a token must be 1 to %d of a-z, 0-9 and '-'", maxTokenName)
	}
	return nil
}

// readTokens reads the register in the file path; a missing file has none.
func readTokens(path string) (tokens, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return tokens{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the register of tokens: %w", err)
	}
	all := tokens{}
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		name, digest, _ := strings.Cut(line, " ")
		raw, err := hex.DecodeString(digest)
		if _, twice := all[name]; err != nil || len(raw) != sha256.Size || checkTokenName(name) != nil || twice {
			return nil, fmt.Errorf("reading %s: line %d: want a name that stands once, a space and 64 hexadecimal digits", path, n+1)
		}
		all[name] = [sha256.Size]byte(raw)
	}
	return all, nil
}

func (t tokens) write(path string) error {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&text, "%s %x\n", name, t[name])
	}
	if len(t) == 0 {
		if err := (durable.Disk{}).Remove(path); err != nil {
			return fmt.Errorf("removing the register of tokens: %w", err)
		}
		return nil
	}
	if err := (durable.Disk{}).Replace(path, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the register of tokens: %w", err)
	}
	return nil
}

// keys identifies each token by the beginning of its hash, as the audit log does.
func (t tokens) keys() map[string]string {
	keys := map[string]string{}
	for name, digest := range t {
		keys[name] = hex.EncodeToString(digest[:8])
	}
	return keys
}

// hold reports whether token is one of them. It compares with all, whichever fits.
func (t tokens) hold(token string) bool {
	got, found := sha256.Sum256([]byte(token)), 0
	for _, digest := range t {
		found |= subtle.ConstantTimeCompare(got[:], digest[:])
	}
	return found == 1
}

// AddToken makes a token for somebody who registers holders and returns it; it is kept as a hash only.
func (r Registers) AddToken(name string) (string, error) {
	if err := checkTokenName(name); err != nil {
		return "", err
	}
	token := newBearer()
	err := r.changeTokens(func(all tokens) error {
		if _, taken := all[name]; taken {
			return fmt.Errorf("a token is called %s already: revoke it first", name)
		}
		all[name] = sha256.Sum256([]byte(token))
		return nil
	})
	if err != nil {
		return "", err
	}
	return token, nil
}

// RevokeToken ends a token from now on.
func (r Registers) RevokeToken(name string) error {
	return r.changeTokens(func(all tokens) error {
		if _, there := all[name]; !there {
			return fmt.Errorf("no token is called %s", name)
		}
		delete(all, name)
		return nil
	})
}

func (r Registers) changeTokens(f func(tokens) error) error {
	return r.change(func(files registers) error {
		all, err := readTokens(files.tokensPath())
		if err != nil {
			return err
		}
		if err := f(all); err != nil {
			return err
		}
		return all.write(files.tokensPath())
	})
}

// Tokens returns the names of the tokens in force, each with the identifier that the audit log gives it.
func (r Registers) Tokens() (map[string]string, error) {
	all, err := readTokens(registers{r.Dir}.tokensPath())
	if err != nil {
		return nil, err
	}
	return all.keys(), nil
}

// tokenRegistrar admits whoever presents a token of the register as it stands: its owner has seen the applicant and the
// phone, and vouches for both.
type tokenRegistrar struct{ registers registers }

// Admit implements [Registrar].
func (r tokenRegistrar) Admit(_ context.Context, _ Identity, proof string) error {
	all, err := readTokens(r.registers.tokensPath())
	if err != nil {
		return err
	}
	if !all.hold(proof) {
		return fmt.Errorf("%w: registration needs a token of the issuer", ErrIdentity)
	}
	return nil
}
