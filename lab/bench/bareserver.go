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
	"time"
)

// bareCertificate is the file of its folder in which a bare server puts its certificate, as a visit server does.
const bareCertificate = "server-ca.pem"

// ServeBare is the bare limit of a visit server, to be run in a process of its own: over TLS 1.3 it reads a request,
// commits what is in it durably to one Pebble, and answers. It keeps its files in dir and writes "ready URL" to out.
func ServeBare(ctx context.Context, dir string, out io.Writer) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	certificate, err := selfSigned(filepath.Join(dir, bareCertificate))
	if err != nil {
		return err
	}
	kept, err := openBarePebble(filepath.Join(dir, "pebble"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: bareHandler(kept), ReadHeaderTimeout: time.Minute}
	closed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { closed <- server.Close() })
	fmt.Fprintf(out, "ready https://%s\n", listener.Addr())
	err = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}))
	if !stop() {
		err = <-closed
	}
	return err
}

// Paths of the bare server.
const (
	bareOne   = "/one"   // the whole body is one row
	bareMany  = "/many"  // the body is one row after the other, each behind its length in two bytes
	bareBytes = 100      // of its answer
	maxBody   = 16 << 20 // of a request to it
)

// bareHandler serves one connection, or several that take turns.
func bareHandler(kept *barePebble) http.Handler {
	answer := make([]byte, bareBytes)
	keep := func(rows func(body []byte) [][]byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err == nil {
				err = kept.keep(rows(body))
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_, _ = w.Write(answer) // the caller notices when it does not come
		}
	}
	mux := http.NewServeMux()
	mux.Handle(bareOne, keep(func(body []byte) [][]byte { return [][]byte{body[:min(len(body), bareRow)]} }))
	mux.Handle(bareMany, keep(splitRows))
	return mux
}

// joinRows and splitRows are the form in which rows go to [bareMany].
func joinRows(body []byte, rows ...[]byte) []byte {
	for _, r := range rows {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(r))), r...)
	}
	return body
}

func splitRows(body []byte) (rows [][]byte) {
	for len(body) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(body))
		if n > len(body) {
			break
		}
		rows, body = append(rows, body[2:n]), body[n:]
	}
	return rows
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
