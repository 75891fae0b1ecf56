package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/kipass/kipass/internal/daykey"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/protocol/auditlog"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver"
	"github.com/kipass/kipass/visitserver/rowcipher"
	"github.com/kipass/kipass/visitserver/store"
	"github.com/kipass/kipass/visitserver/store/embedded"
)

// measureIngest compares what the visit server does to a full batch, from the bytes of the request to those of the
// receipt, and its store's share of that, with a bare Pebble that is given keys and values of the same sizes.
func measureIngest(ctx context.Context, s *site) (figures []Figure, err error) {
	server, send, batch, err := newIngest(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	alone, err := embedded.Open(s.path("alone"), embedded.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, alone.Close()) }()
	bare, err := openBarePebble(s.path("bare"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bare.close()) }()

	var whole, put, least worked
	took, err := interleave(ctx, 10*time.Second, 100,
		func() (time.Duration, error) {
			body, err := batch.next(wire.MaxRecords)
			if err != nil {
				return 0, err
			}
			return whole.timed(func() error { return batch.deliver(ctx, send, body) })
		},
		func() (time.Duration, error) {
			rows := newRows(batch.record)
			return put.timed(func() error {
				fresh, err := alone.Put(ctx, benchFacility, day.Of(rows[0].At), rows, nil)
				if err == nil && fresh != len(rows) {
					err = fmt.Errorf("%d of %d rows are new", fresh, len(rows))
				}
				return err
			})
		},
		func() (time.Duration, error) {
			rows := newRows(batch.record)
			return least.timed(func() error { return bare.put(rows) })
		})
	if err != nil {
		return nil, err
	}
	stored, err := server.store.Stored(ctx, benchFacility)
	if err != nil {
		return nil, err
	}
	if stored != batch.seq {
		return nil, fmt.Errorf("the server stores %d of %d visits", stored, batch.seq)
	}
	const n = wire.MaxRecords
	cpu := func(w worked) laps { return w.counted(len(took[0])) }
	const passes = "each visit is also opened, checked, named by a keyed digest and sealed again under its day"
	return []Figure{
		comparedRates("ingest", "visits/s", n, took[0], took[2], bareBatch, forPeople),
		comparedTimes("ingest_cpu", "µs/visit", 1e6/n, cpu(whole), cpu(least), bareBatch, atMost(1.5, passes)),
		comparedRates("store_put", "visits/s", n, took[1], took[2], bareBatch, forPeople),
		comparedTimes("store_put_cpu", "µs/visit", 1e6/n, cpu(put), cpu(least), bareBatch,
			atMost(1.1, "to know that a visit is new is to cost little beside storing it")),
	}, nil
}

const bareBatch = "one durable Pebble batch of as many keys and values of the same sizes"

// newRows returns a batch of rows as the server makes them of records of that many bytes.
func newRows(record int) []store.Row {
	rows, now := make([]store.Row, wire.MaxRecords), time.Now()
	today := day.Of(now).Start()
	for i := range rows {
		at := now.Add(time.Duration(i-len(rows)) * time.Millisecond)
		if at.Before(today) { // all rows of a batch are of one day
			at = today
		}
		rows[i] = store.Row{At: at.Truncate(time.Millisecond), Gate: benchGate, Sealed: make([]byte, record+nonceAndTag)}
		_, _ = rand.Read(rows[i].Blind[:])
		_, _ = rand.Read(rows[i].Sealed)
	}
	return rows
}

// nonceAndTag is what AES-256-GCM with a random nonce adds to a record.
const nonceAndTag = 12 + 16

// ingestServer is a visit server in this process, without a network before it.
type ingestServer struct {
	store *embedded.Store
	log   *auditlog.Log
}

func (i *ingestServer) close() error {
	var errs []error
	if i.log != nil {
		errs = append(errs, i.log.Close())
	}
	return errors.Join(append(errs, i.store.Close())...)
}

// newIngest returns a server, what sends an enrolled gate's messages to it, and that gate's batches.
func newIngest(ctx context.Context, s *site) (i *ingestServer, send sender, b *batches, err error) {
	identity, err := visitserver.NewIdentity([]string{"localhost"}, time.Now())
	if err != nil {
		return nil, nil, nil, err
	}
	i = &ingestServer{}
	if i.store, err = embedded.Open(s.path("store"), embedded.Options{}); err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.close())
		}
	}()
	keys, err := daykey.Open(s.path("keys"), make([]byte, 32), rowcipher.Derive, durable.Disk{})
	if err != nil {
		return nil, nil, nil, err
	}
	seals, err := daykey.Open(s.path("seal"), make([]byte, 32), visitserver.DeriveSealKey, durable.Disk{})
	if err != nil {
		return nil, nil, nil, err
	}
	guard := guard.Open(s.path("clock"), guard.Options{})
	if i.log, err = auditlog.Open(s.path("audit"), identity.LogKey, "bench"); err != nil {
		return nil, nil, nil, err
	}
	server, err := visitserver.New(ctx, visitserver.Parts{
		Store: i.store, Keys: keys, SealKeys: seals, Guard: guard, Identity: identity, Audit: i.log,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if err := server.AddFacility(ctx, benchFacility, "서울 카페"); err != nil {
		return nil, nil, nil, err
	}
	code, err := server.AddTerminal(ctx, benchFacility, benchGate)
	if err != nil {
		return nil, nil, nil, err
	}
	handler := server.Handler()
	certificate, key, err := enrol(ctx, direct(ctx, handler, nil), code)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err = newBatches(key)
	return i, direct(ctx, handler, certificate), b, err
}

// direct sends to a handler as if over one kept connection of the certificate's holder.
func direct(ctx context.Context, h http.Handler, certificate *tls.Certificate) sender {
	state := &tls.ConnectionState{}
	if certificate != nil {
		state.PeerCertificates = []*x509.Certificate{certificate.Leaf}
	}
	connection := visitserver.ConnContext(ctx, nil)
	return func(_ context.Context, path, contentType string, body []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(connection, http.MethodPost, path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.TLS = state
		req.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w.Body.Bytes(), accepted(path, w.Code, w.Body.Bytes())
	}
}
