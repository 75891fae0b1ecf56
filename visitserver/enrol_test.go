package visitserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/authority"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/wire"
)

func TestEnrolmentCodes(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	_, csr := newKeyAndCSR(t)
	_, other := newKeyAndCSR(t)
	enrol := func(rule, code string, csr []byte, want string) {
		t.Helper()
		e, err := fx.enrol(code, csr)
		if problem(err) != want || (err == nil) != (want == "") {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
		if err == nil && len(e.Certificate) == 0 {
			t.Errorf("%s: no certificate", rule)
		}
	}
	code := fx.code("cafe", "door")
	enrol("a made-up code", "AAAA-AAAA-AAAA-AAAA", csr, wire.CodeBadCode)
	enrol("a good code, typed in small letters without dashes", strings.ToLower(strings.ReplaceAll(code, "-", " ")), csr, "")
	enrol("the same device asks again, its answer was lost", code, csr, "")
	enrol("another device with the used code", code, other, wire.CodeBadCode)
	old := fx.code("cafe", "door")
	code = fx.code("cafe", "door")
	enrol("a code that a newer one has replaced", old, csr, wire.CodeBadCode)
	fx.clock.Add(EnrolmentLife)
	enrol("at its last moment", code, csr, "")
	code = fx.code("cafe", "door")
	fx.clock.Add(EnrolmentLife + time.Millisecond)
	enrol("after 24 hours", code, csr, wire.CodeBadCode)
	enrol("after 24 hours, by whom it might be retried", code, csr, wire.CodeBadCode)
	code = fx.code("cafe", "door")
	fx.admin(nil, "terminal revoke", "cafe", "door")
	enrol("for a gate revoked meanwhile", code, csr, wire.CodeBadCode)
	fx.restart()
	enrol("for a gate taken back into service", fx.code("cafe", "door"), csr, "")
}

func TestACodeEnrolsOneOfManyRacingDevices(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	code := fx.code("cafe", "door")
	const devices = 8
	results := make(chan error, devices)
	for range devices {
		_, csr := newKeyAndCSR(t)
		go func() {
			_, err := fx.enrol(code, csr)
			results <- err
		}()
	}
	won := 0
	for range devices {
		switch err := <-results; {
		case err == nil:
			won++
		case problem(err) != wire.CodeBadCode:
			t.Errorf("loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d devices enrolled, want 1", won)
	}
}

func TestCertificateCarriesTheTerminalsNameOnly(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "club/door"}, DNSNames: []string{"localhost"}, URIs: nil,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	e, err := fx.enrol(fx.code("cafe", "door"), csr)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != wire.TerminalURI("cafe", "door").String() || len(cert.DNSNames) > 0 || cert.Subject.CommonName != "cafe/door" {
		t.Errorf("certificate of %v, URIs %v, DNS %v", cert.Subject, cert.URIs, cert.DNSNames)
	}
	if cert.IsCA || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || !cert.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Error("certificate is good for more, or for another key")
	}
}

func TestRequestsThatAreNoECDSAP256Requests(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, edKey)
	if err != nil {
		t.Fatal(err)
	}
	big, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, big)
	if err != nil {
		t.Fatal(err)
	}
	_, forged := newKeyAndCSR(t)
	forged = bytes.Clone(forged)
	forged[len(forged)-1] ^= 1
	code := fx.code("cafe", "door")
	for rule, csr := range map[string][]byte{"Ed25519": ed, "P-384": p384, "not self-signed": forged, "empty": nil, "garbage": []byte("csr")} {
		if _, err := fx.enrol(code, csr); problem(err) != wire.CodeBadRequest {
			t.Errorf("%s: %v, want bad-request", rule, err)
		}
	}
	_, good := newKeyAndCSR(t)
	if _, err := fx.enrol(code, good); err != nil {
		t.Errorf("the code was spent by requests that were refused: %v", err)
	}
}

func renew(fx *fixture, g *gate, csr []byte) (wire.Enrolment, error) {
	return ask[wire.Enrolment](fx, g.client, wire.PathRenew, wire.TypeEnrol, wire.RenewRequest{CSR: csr}, wire.TypeEnrolment)
}

func TestRenewal(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	key, csr := newKeyAndCSR(t)
	fx.clock.Add(terminalLife + time.Hour)
	g.client = fx.client(&g.cert)
	g.journalled(newVisit(fx.clock.Now()))
	if _, err := g.send(g.segment(1)); problem(err) != wire.CodeUnauthenticated {
		t.Errorf("an expired certificate: %v, want unauthenticated", err)
	}
	e, err := renew(fx, g, csr)
	if err != nil {
		t.Fatalf("renewing an expired certificate: %v", err)
	}
	renewed := tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key}
	old := g.client
	g.client = fx.client(&renewed)
	g.deliver()
	fx.admin(nil, "terminal revoke", "cafe", "door")
	for rule, client := range map[string]*gate{"new certificate": g, "old certificate": {fx: fx, client: old}} {
		if _, err := renew(fx, client, csr); problem(err) != wire.CodeRevoked {
			t.Errorf("%s renewed after revocation: %v, want revoked", rule, err)
		}
	}
}

func TestAServerWithoutATrustListSaysSoWithAnEmptyOne(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	p, err := get[wire.Provision](fx, g.client, wire.PathProvision, wire.TypeProvision)
	if err != nil || p.TrustList == nil || len(p.TrustList) != 0 {
		t.Errorf("trust list %v, %v; want an empty byte string", p.TrustList, err)
	}
}

func TestRevocationHoldsFromTheNextRequestOfAnOpenConnection(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	g.journalled(newVisit(noon))
	g.deliver()
	fx.admin(nil, "terminal revoke", "cafe", "door")
	g.journalled(newVisit(noon))
	if _, err := g.send(g.segment(1)); problem(err) != wire.CodeRevoked {
		t.Errorf("%v, want revoked", err)
	}
	if _, err := ask[wire.Receipt](fx, g.client, wire.PathHeartbeat, wire.TypeHeartbeat, wire.Heartbeat{Clock: "synced"}, wire.TypeReceipt); problem(err) != wire.CodeRevoked {
		t.Errorf("heartbeat: %v, want revoked", err)
	}
	if n := fx.stored("cafe"); n != 1 {
		t.Errorf("stored %d, want 1", n)
	}
}

func TestANewDeviceReplacesTheOldOne(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	old := fx.gate("cafe", "door")
	old.journalled(newVisit(noon))
	fresh := fx.gate("cafe", "door")
	if _, err := old.send(old.segment(1)); problem(err) != wire.CodeRevoked {
		t.Errorf("old device: %v, want revoked", err)
	}
	fresh.journalled(newVisit(noon))
	fresh.deliver()
}

func TestForeignCertificatesAreNoTerminals(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	foreign, err := authority.New(commonAuthority+" terminals", noon)
	if err != nil {
		t.Fatal(err)
	}
	key, der := newKeyAndCSR(t)
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := issue(foreign, terminalName{"cafe", "door"}, csr, noon, terminalLife)
	if err != nil {
		t.Fatal(err)
	}
	for rule, c := range map[string]*tls.Certificate{"none": nil, "of another authority": {Certificate: [][]byte{cert.Raw}, PrivateKey: key}} {
		g.client = fx.client(c)
		g.records = nil
		g.journalled(newVisit(noon))
		if _, err := g.send(g.segment(1)); problem(err) != wire.CodeUnauthenticated {
			t.Errorf("%s: %v, want unauthenticated", rule, err)
		}
	}
	if n := fx.stored("cafe"); n != 0 {
		t.Errorf("stored %d, want 0", n)
	}
}

func signedList(t *testing.T, root ed25519.PrivateKey, version uint64) []byte {
	t.Helper()
	raw, err := token.SignTrustList(root, token.TrustList{Version: version, IssuedAt: noon, Expires: noon.AddDate(0, 1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTrustListNeverRollsBack(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	g := fx.gate("cafe", "door")
	pub, root, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	install := func(rule string, raw []byte, ok bool) {
		t.Helper()
		if err := fx.tryAdmin(nil, AdminRequest{Command: "trust-list", File: raw}); (err == nil) != ok {
			t.Errorf("%s: %v", rule, err)
		}
	}
	one, two := signedList(t, root, 1), signedList(t, root, 2)
	install("before a root is set", one, false)
	fx.admin(nil, "trust-root", hex.EncodeToString(pub))
	if err := fx.tryAdmin(nil, AdminRequest{Command: "trust-root", Args: []string{hex.EncodeToString(pub)}}); err == nil {
		t.Error("the root was set twice")
	}
	install("version 2", two, true)
	fx.restart()
	install("version 1 after 2, after a restart", one, false)
	install("a stranger's version 3", signedList(t, stranger, 3), false)
	install("the same again", two, true)
	p, err := get[wire.Provision](fx, g.client, wire.PathProvision, wire.TypeProvision)
	if err != nil || !bytes.Equal(p.TrustList, two) || !bytes.Equal(p.SealKey, g.sealKey.Bytes()) {
		t.Errorf("provision holds another list or key: %v", err)
	}
	g.journalled(newVisit(noon))
	if receipt := g.deliver(); receipt.Trust != 2 {
		t.Errorf("receipt tells of list %d, want 2", receipt.Trust)
	}
}

func TestKeysAreForTheOperatorAlone(t *testing.T) {
	fx := newFixture(t)
	err := filepath.WalkDir(filepath.Join(fx.folder.Dir, "keys"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := fx.folder.Init([]string{"localhost"}, noon); !errors.Is(err, ErrExists) {
		t.Errorf("made anew over a server: %v", err)
	}
	secrets := testkit.Must(fx.folder.Unlock())(t)
	logger, log := testkit.NewLogger()
	logger.Info("secrets", "value", secrets, "in", Config{Secrets: secrets})
	if said := fmt.Sprintf("%v %+v %#v %s", secrets, secrets, secrets, log); strings.Count(said, redacted) != 5 || strings.Contains(said, "master:") {
		t.Errorf("secrets say %s", said)
	}
}

// A register put back from a backup knows nothing of what came after it. That is no reason to shut an honest gate out.
func TestWhatARestoredRegisterDoesNotKnowIsUnknownAndNotRevoked(t *testing.T) {
	fx := newFixture(t)
	fx.facility("cafe")
	replaced := fx.gate("cafe", "replaced")
	renewing := fx.gate("cafe", "renewing")
	fx.clock.Add(time.Minute)
	fx.gate("cafe", "replaced")
	fx.admin(nil, "terminal add", "cafe", "enrolling")
	backup := t.TempDir() + "/visits"
	fx.stop()
	testkit.Check(t, os.CopyFS(backup, os.DirFS(fx.folder.Visits())))
	fx.start()
	fx.clock.Add(terminalLife / 2)
	enrolling, added := fx.gate("cafe", "enrolling"), fx.gate("cafe", "added")
	key, csr := newKeyAndCSR(t)
	e := testkit.Must(renew(fx, renewing, csr))(t)
	renewed := *renewing
	renewed.client = fx.client(&tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key})
	fx.stop()
	testkit.Check(t, errors.Join(os.RemoveAll(fx.folder.Visits()), os.CopyFS(fx.folder.Visits(), os.DirFS(backup))))
	fx.start()
	for rule, c := range map[string]struct {
		gate *gate
		want string
	}{
		"enrolled before the backup":           {renewing, ""},
		"renewed after it":                     {&renewed, wire.CodeUnknown},
		"added after it":                       {added, wire.CodeUnknown},
		"enrolled after it":                    {enrolling, wire.CodeUnknown},
		"replaced by another device before it": {replaced, wire.CodeRevoked},
	} {
		_, err := ask[wire.Receipt](fx, c.gate.client, wire.PathHeartbeat, wire.TypeHeartbeat, wire.Heartbeat{Clock: "synced"}, wire.TypeReceipt)
		if problem(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", rule, err, c.want)
		}
	}
}
