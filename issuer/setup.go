package issuer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/keyfile"
	"github.com/kipass/kipass/internal/secretdir"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/protocol/token"
)

// Names within the data folder.
const (
	aboutFile     = "issuer.json"
	officersFile  = "officers"
	authorityFile = "authority" // root key of the health authority
	tokensFile    = "tokens"    // of those who register holders
	signingFile   = "signing.json"
	// CAFile is the certificate that whoever talks to the issuer trusts, PEM.
	CAFile = "ca.pem"

	masterFile = "master.key"
	logKeyFile = "audit.key"
	caKeyFile  = "ca.key"
)

// About is what an issuer is called, and what was settled when its folder was made.
type About struct {
	Version int      `json:"version"`
	Name    string   `json:"name"`    // short name, 1 to 16 of a–z, 0–9 and '-'
	Display string   `json:"display"` // name for people
	Hosts   []string `json:"hosts"`   // names and addresses its TLS certificate is for
}

const aboutVersion = 1

func (a About) auditOrigin() string { return "kipass/issuer/" + a.Name }

type secrets struct {
	master []byte
	logKey ed25519.PrivateKey
	caKey  crypto.Signer
}

// Init makes the data folder of a new issuer: name, keys and TLS authority. It refuses a folder that already is one.
// secretDir is "" or where the secrets shall lie, see [SecretDir]. An interrupted Init is repeated: the file written last
// makes the folder an issuer.
func Init(dir, secretDir string, a About, now time.Time) error {
	return initialise(dir, secretDir, a, now, durable.Disk{})
}

func initialise(dir, secretDir string, a About, now time.Time, disk durable.Disk) error {
	// Signing a code checks the name by the rule that everybody who reads codes applies.
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if _, err := token.Sign(key, a.Name, now, token.CTI{}); err != nil {
		return err
	}
	if a.Display == "" {
		a.Display = a.Name
	}
	if len(a.Hosts) == 0 {
		return errors.New("no host name for the TLS certificate")
	}
	a.Version = aboutVersion
	path := filepath.Join(dir, aboutFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: this folder has an issuer", path)
	}
	if err := makeFolders(dir); err != nil {
		return err
	}
	secretDir = SecretDir(dir, secretDir)
	if err := begin(secretDir, disk); err != nil {
		return err
	}
	if err := makeSecrets(secretDir, disk); err != nil {
		return err
	}
	first, err := makeSigningKey(secretDir, now, disk)
	if err != nil {
		return err
	}
	first.From = first.NotBefore
	keys := signingKeys{Keys: []SigningKey{first}}
	if err := keys.write(dir, disk); err != nil {
		return err
	}
	if err := keys.erasePrivate(secretDir); err != nil { // of an Init that was interrupted
		return err
	}
	ca, err := authority.New("kipass issuer "+a.Display, now)
	if err != nil {
		return err
	}
	if err := writeKey(disk, filepath.Join(secretDir, caKeyFile), ca.Key); err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
	if err := disk.Replace(filepath.Join(dir, CAFile), cert, 0o644); err != nil {
		return fmt.Errorf("writing the TLS authority: %w", err)
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Replace(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return disk.Remove(filepath.Join(secretDir, unfinished))
}

// unfinished is a file among the secrets for as long as they are being made: what lies there then may be made anew.
const unfinished = "init.unfinished"

// begin makes the folder of secrets, or takes it up from an Init that was interrupted. One that holds an issuer's secrets is
// refused: two issuers would share them.
func begin(dir string, disk durable.Disk) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of secrets: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, unfinished)); err == nil {
		return nil
	}
	for _, pattern := range []string{logKeyFile, caKeyFile, privatePattern} {
		there, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return fmt.Errorf("looking at the folder of secrets: %w", err)
		}
		if len(there) > 0 {
			return fmt.Errorf("%s is there already: these are the secrets of an issuer; --secrets names another folder", filepath.Join(dir, there[0]))
		}
	}
	if err := disk.Replace(filepath.Join(dir, unfinished), nil, 0o600); err != nil {
		return fmt.Errorf("making the folder of secrets: %w", err)
	}
	return nil
}

// makeSecrets makes all secrets but the TLS authority's key. A master key that is there, from a key management system, is
// taken as it is.
func makeSecrets(dir string, disk durable.Disk) error {
	master := make([]byte, daykey.KeySize)
	_, _ = rand.Read(master) // never fails: crypto/rand ends the program instead
	err := disk.Create(filepath.Join(dir, masterFile), master, 0o600)
	if errors.Is(err, fs.ErrExist) {
		_, err = readMaster(dir)
	}
	if err != nil {
		return fmt.Errorf("writing the master key: %w", err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("making %s: %w", logKeyFile, err)
	}
	return writeKey(disk, filepath.Join(dir, logKeyFile), key)
}

// SecretDir is the folder of the secrets that belong to a data folder; given is the one that was asked for, or "".
func SecretDir(dir, given string) string { return secretdir.Of(dir, given, masterFile) }

func readAbout(dir string) (About, error) {
	path := filepath.Join(dir, aboutFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return About{}, fmt.Errorf("%s is missing: make the folder with 'kipass-issuer init'", path)
	}
	if err != nil {
		return About{}, fmt.Errorf("reading the issuer's folder: %w", err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	var a About
	if err := dec.Decode(&a); err != nil {
		return About{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return About{}, fmt.Errorf("reading %s: bytes after its end", path)
	}
	if a.Version != aboutVersion {
		return About{}, fmt.Errorf("reading %s: version %d, this program reads version %d", path, a.Version, aboutVersion)
	}
	return a, nil
}

func readMaster(dir string) ([]byte, error) {
	master, err := secretfile.Read(filepath.Join(dir, masterFile))
	if err != nil {
		return nil, fmt.Errorf("reading the master key (--secrets names its folder): %w", err)
	}
	if len(master) != daykey.KeySize {
		return nil, fmt.Errorf("reading %s: %d bytes, must be %d", filepath.Join(dir, masterFile), len(master), daykey.KeySize)
	}
	return master, nil
}

func readSecrets(dir string) (secrets, error) {
	var s secrets
	var err error
	if s.master, err = readMaster(dir); err != nil {
		return secrets{}, err
	}
	if s.logKey, err = keyfile.ReadEd25519(filepath.Join(dir, logKeyFile)); err != nil {
		return secrets{}, err
	}
	if s.caKey, err = keyfile.Read(filepath.Join(dir, caKeyFile)); err != nil {
		return secrets{}, err
	}
	return s, nil
}

func writeKey(disk durable.Disk, path string, key crypto.Signer) error {
	text, err := keyfile.Encode(key)
	if err != nil {
		return err
	}
	if err := disk.Replace(path, text, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}

// readAuthority takes up the folder's TLS authority.
func readAuthority(path string, key crypto.Signer) (authority.CA, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return authority.CA{}, fmt.Errorf("reading the TLS authority: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return authority.CA{}, fmt.Errorf("reading %s: no PEM block", path)
	}
	a, err := authority.Load(block.Bytes, key)
	if err != nil {
		return authority.CA{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return a, nil
}
