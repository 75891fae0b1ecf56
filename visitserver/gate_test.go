package visitserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

func newKeyAndCSR(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

// gate is the device's side: an enrolled terminal with a journal.
type gate struct {
	fx       *fixture
	facility visit.Facility
	name     visit.Gate
	client   *http.Client
	cert     tls.Certificate
	sealKey  visit.SealPublicKey

	journal visit.JournalID
	sealer  *visit.Sealer
	prev    visit.Chain // before records[0]
	records []visit.Sealed
	next    uint64
}

func (fx *fixture) facility(f visit.Facility) {
	fx.t.Helper()
	fx.admin(nil, "facility add", string(f))
}

func (fx *fixture) code(f visit.Facility, g visit.Gate) string {
	fx.t.Helper()
	var out struct{ Code string }
	fx.admin(&out, "terminal add", string(f), string(g))
	return out.Code
}

func (fx *fixture) enrol(code string, csr []byte) (wire.Enrolment, error) {
	return ask[wire.Enrolment](fx, fx.client(nil), wire.PathEnrol, wire.TypeEnrol, wire.EnrolRequest{Code: code, CSR: csr}, wire.TypeEnrolment)
}

// gate enrols a device as a terminal of an existing facility, with a journal of its own.
func (fx *fixture) gate(f visit.Facility, g visit.Gate) *gate {
	fx.t.Helper()
	key, csr := newKeyAndCSR(fx.t)
	e, err := fx.enrol(fx.code(f, g), csr)
	if err != nil {
		fx.t.Fatalf("enrolling %s/%s: %v", f, g, err)
	}
	d := &gate{fx: fx, facility: f, name: g, cert: tls.Certificate{Certificate: [][]byte{e.Certificate}, PrivateKey: key}}
	d.client = fx.client(&d.cert)
	if d.sealKey, err = visit.ParseSealPublicKey(e.Provision.SealKey); err != nil {
		fx.t.Fatal(err)
	}
	d.newJournal()
	return d
}

func (d *gate) newJournal() {
	d.journal = visit.JournalID{}
	_, _ = rand.Read(d.journal[:])
	d.prev, d.records, d.next = visit.Genesis(d.journal), nil, 1
	d.newEpoch()
}

func (d *gate) newEpoch() {
	var err error
	if d.sealer, err = visit.NewSealer(d.sealKey, d.facility, d.name, d.next); err != nil {
		d.fx.t.Fatal(err)
	}
}

func newVisit(at time.Time) visit.Visit {
	v := visit.Visit{At: at, Issuer: "naver", Clock: visit.ClockSynced, Skew: 2 * time.Second}
	_, _ = rand.Read(v.CTI[:])
	return v
}

// journalled appends visits to the gate's journal.
func (d *gate) journalled(visits ...visit.Visit) {
	for _, v := range visits {
		b, err := v.Marshal()
		if err != nil {
			d.fx.t.Fatal(err)
		}
		d.sealed(b)
	}
}

func (d *gate) sealed(record []byte) {
	d.records = append(d.records, visit.Sealed{Seq: d.next, Data: d.sealer.Seal(nil, d.next, record)})
	d.next++
}

// segment is the journal's first n undelivered records, which all lie in the current epoch.
func (d *gate) segment(n int) visit.Segment {
	return visit.Segment{Journal: d.journal, Prev: d.prev, Epochs: []visit.Epoch{d.sealer.Epoch()}, Records: d.records[:n]}
}

func (d *gate) send(s visit.Segment) (wire.Receipt, error) {
	return ask[wire.Receipt](d.fx, d.client, wire.PathVisits, wire.TypeBatch, wire.Batch{Segment: s, Oldest: s.Records[0].Seq}, wire.TypeReceipt)
}

// settle forgets the records up to through.
func (d *gate) settle(through uint64) {
	for len(d.records) > 0 && d.records[0].Seq <= through {
		d.prev = d.prev.Next(d.records[0])
		d.records = d.records[1:]
	}
}

// deliver sends everything, fails the test unless it is taken, and settles it.
func (d *gate) deliver() wire.Receipt {
	d.fx.t.Helper()
	receipt, err := d.send(d.segment(len(d.records)))
	if err != nil {
		d.fx.t.Fatalf("sending a batch: %v", err)
	}
	if want := d.records[len(d.records)-1].Seq; receipt.Settled.Through != want || receipt.Settled.Journal != d.journal {
		d.fx.t.Fatalf("receipt settles %v through %d, want %v through %d", receipt.Settled.Journal, receipt.Settled.Through, d.journal, want)
	}
	d.settle(receipt.Settled.Through)
	return receipt
}
