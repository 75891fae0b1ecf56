package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// bareCertificate is the file of its folder in which a bare server puts its certificate, as a visit server does.
const bareCertificate = "server-ca.pem"

// ServeBare is the bare limit of a visit server, to be run in a process of its own: over TLS 1.3 it reads a request,
// commits it durably to one Pebble and a short row to another – a visit server keeps visits and accounts apart – and
// answers. It keeps its files in dir and writes "ready URL" to out.
func ServeBare(ctx context.Context, dir string, out io.Writer) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	certificate, err := selfSigned(filepath.Join(dir, bareCertificate))
	if err != nil {
		return err
	}
	var stores [2]*barePebble
	for i := range stores {
		if stores[i], err = openBarePebble(filepath.Join(dir, fmt.Sprintf("pebble-%d", i))); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stores[i].close()) }()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: bareHandler(stores[0].db, stores[1].db), ReadHeaderTimeout: time.Minute}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- server.Close() })
	fmt.Fprintf(out, "ready https://%s\n", listener.Addr())
	err = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}))
	if !stop() {
		err = <-closed
	}
	return err
}

func bareHandler(visits, accounts *pebble.DB) http.Handler {
	var n atomic.Uint64
	row, answer := make([]byte, 200), make([]byte, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			key := binary.BigEndian.AppendUint64(nil, n.Add(1))
			err = errors.Join(visits.Set(key, body[:min(len(body), len(row))], pebble.Sync), accounts.Set([]byte("account"), row, pebble.Sync))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(answer) // the caller notices when it does not come
	})
}

// selfSigned makes a certificate for loopback and writes it to path.
func selfSigned(path string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(path, text, 0o600)
}
