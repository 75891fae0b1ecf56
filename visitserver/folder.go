package visitserver

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/secretdir"
	"github.com/kipass/kipass/internal/secretfile"
	"github.com/kipass/kipass/protocol/auditlog"
)

// Folder is where a visit server keeps everything:
//
//	keys/identity   the server's own keys, wrapped
//	keys/days/      one wrapped key per day of visit (package daykey)
//	keys/seal/      one wrapped key that gates seal to per week, by the day from which it is in use
//	keys/clock      the last time the server knew (guard.Clock)
//	visits/         the store
//	audit/          the audit log; may be published as it is
//	server-ca.pem   the authority of the server's certificate, for gates, issuers and the health authority
//	audit.vkey      the audit log's public key, for auditors
//	admin.sock      the operator's interface, while the server runs
//
// and, in a folder apart from it, what makes the rest readable:
//
//	master.key      the master key, 32 bytes in base64, which wraps all other keys
type Folder struct {
	Dir     string
	Secrets string // folder of the master key; default as of secretdir.Of
}

func (f Folder) path(name ...string) string {
	return filepath.Join(append([]string{f.Dir}, name...)...)
}

const masterFile = "master.key"

// SecretDir is the folder of the master key.
func (f Folder) SecretDir() string { return secretdir.Of(f.Dir, f.Secrets, masterFile) }

func (f Folder) masterPath() string { return filepath.Join(f.SecretDir(), masterFile) }

// Socket is the path of the operator's interface.
func (f Folder) Socket() string { return f.path("admin.sock") }

// Audit is the path of the audit log.
func (f Folder) Audit() string { return f.path("audit") }

// Visits is the path of the store.
func (f Folder) Visits() string { return f.path("visits") }

// Secrets are the keys of a folder, unwrapped. They are in memory only.
type Secrets struct {
	master   []byte
	identity *Identity
}

// LogValue, String and GoString keep the keys out of logs.
func (Secrets) LogValue() slog.Value { return slog.StringValue(redacted) }
func (Secrets) String() string       { return redacted }
func (Secrets) GoString() string     { return redacted }

const redacted = "secrets(redacted)"

// Unlock reads the keys of the server that lives in the folder.
func (f Folder) Unlock() (Secrets, error) {
	master, err := f.readMaster()
	if err != nil {
		return Secrets{}, err
	}
	id, err := f.readIdentity(master)
	if err != nil {
		return Secrets{}, err
	}
	return Secrets{master: master, identity: id}, nil
}

const (
	auditOrigin   = "kipass-visits/audit"
	identityLabel = "kipass visit server identity v1"
)

// storedIdentity is Identity as it is written, wrapped by the master key.
type storedIdentity struct {
	ServerCert   []byte   `json:"server_cert"`
	ServerKey    []byte   `json:"server_key"`
	TerminalCert []byte   `json:"terminal_cert"`
	TerminalKey  []byte   `json:"terminal_key"`
	LogKey       []byte   `json:"log"`
	Hosts        []string `json:"hosts"`
}

// ErrExists is returned by Init for a folder that holds a server already.
var ErrExists = errors.New("a visit server lives here already")

// Init makes a new server's keys. hosts are the DNS names and IP addresses under which it will be reached. A master key that
// is there already, from a key management system or an earlier Init that was interrupted, is taken as it is. An interrupted
// Init is repeated: the file written last makes the folder a server.
func (f Folder) Init(hosts []string, now time.Time) error { return f.init(hosts, now, durable.Disk{}) }

func (f Folder) init(hosts []string, now time.Time, disk durable.Disk) error {
	last := f.path("keys", "identity")
	if _, err := os.Stat(last); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s: %w", last, ErrExists), err)
	}
	id, err := NewIdentity(hosts, now)
	if err != nil {
		return err
	}
	vkey, err := auditlog.VerifierKey(auditOrigin, id.LogKey.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	for _, dir := range []string{f.path("keys", "days"), f.SecretDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making a server's folder: %w", err)
		}
	}
	master, err := f.makeMaster(disk)
	if err != nil {
		return err
	}
	wrapped, err := wrapIdentity(id, master)
	if err != nil {
		return err
	}
	if err := f.initClock(now, disk); err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.Server.Cert.Raw})
	for _, file := range []struct {
		path string
		data []byte
		mode fs.FileMode
	}{
		{f.path("server-ca.pem"), ca, 0o644},
		{f.path("audit.vkey"), []byte(vkey + "\n"), 0o644},
		{last, wrapped, 0o600},
	} {
		if err := disk.Replace(file.path, file.data, file.mode); err != nil {
			return fmt.Errorf("making a server's folder: %w", err)
		}
	}
	return nil
}

// makeMaster returns the master key that is there, or makes one.
func (f Folder) makeMaster(disk durable.Disk) ([]byte, error) {
	master, err := f.readMaster()
	if !errors.Is(err, fs.ErrNotExist) {
		return master, err
	}
	master = make([]byte, masterKeySize)
	_, _ = rand.Read(master) // never fails: crypto/rand ends the program instead
	text := []byte(base64.StdEncoding.EncodeToString(master) + "\n")
	if err := disk.Create(f.masterPath(), text, 0o600); err != nil {
		return nil, fmt.Errorf("writing the master key: %w", err)
	}
	return master, nil
}

// initClock takes the operator's clock as right: there is nothing yet that it could destroy.
func (f Folder) initClock(now time.Time, disk durable.Disk) error {
	guard := guard.Open(f.path("keys", "clock"), guard.Options{Now: func() time.Time { return now }, Disk: disk})
	return errors.Join(guard.Confirm(), guard.Close())
}

func (f Folder) readMaster() ([]byte, error) {
	text, err := secretfile.Read(f.masterPath())
	if err != nil {
		return nil, fmt.Errorf("reading the master key (--secrets names its folder): %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != masterKeySize {
		return nil, fmt.Errorf("%s: not a master key: must be %d bytes in base64", f.masterPath(), masterKeySize)
	}
	return key, nil
}

func (f Folder) readIdentity(master []byte) (*Identity, error) {
	path := f.path("keys", "identity")
	wrapped, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no visit server: run kipass-visits init first", f.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the server's keys: %w", err)
	}
	aead, err := wrapper(master)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, wrapped, []byte(identityLabel))
	if err != nil {
		return nil, fmt.Errorf("%s does not open under the master key in %s", path, f.masterPath())
	}
	var st storedIdentity
	if err := json.Unmarshal(plain, &st); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	id := &Identity{Hosts: st.Hosts, LogKey: st.LogKey}
	var errs [2]error
	id.Server, errs[0] = readAuthority(st.ServerCert, st.ServerKey)
	id.Terminal, errs[1] = readAuthority(st.TerminalCert, st.TerminalKey)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(id.LogKey) != ed25519.PrivateKeySize || len(id.Hosts) == 0 {
		return nil, fmt.Errorf("reading %s: incomplete", path)
	}
	return id, nil
}

func readAuthority(cert, key []byte) (authority.CA, error) {
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return authority.CA{}, err
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return authority.CA{}, fmt.Errorf("authority's key is a %T, and cannot sign", k)
	}
	return authority.Load(cert, signer)
}

func wrapIdentity(id *Identity, master []byte) ([]byte, error) {
	serverKey, err1 := x509.MarshalPKCS8PrivateKey(id.Server.Key)
	terminalKey, err2 := x509.MarshalPKCS8PrivateKey(id.Terminal.Key)
	aead, err3 := wrapper(master)
	plain, err4 := json.Marshal(storedIdentity{
		ServerCert: id.Server.Cert.Raw, ServerKey: serverKey, TerminalCert: id.Terminal.Cert.Raw, TerminalKey: terminalKey,
		LogKey: id.LogKey, Hosts: id.Hosts,
	})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("wrapping the server's keys: %w", err)
	}
	return aead.Seal(nil, nil, plain, []byte(identityLabel)), nil
}

func wrapper(master []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(master)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}
