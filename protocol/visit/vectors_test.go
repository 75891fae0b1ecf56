package visit_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectors is the published file. All but epochs and sealed follows from the code; an encapsulation draws random bytes,
// so those are fixed once, and only their opening is tested.
type vectors struct {
	About      string          `json:"about"`
	Server     vectorServer    `json:"server"`
	Records    []vectorRecord  `json:"records"`
	NotRecords []vectorRefused `json:"not_records"`
	Epochs     []vectorEpoch   `json:"epochs"`
	Sealed     []vectorSealed  `json:"sealed"`
	Unsealable []vectorSealed  `json:"unsealable"`
	Chain      vectorChain     `json:"chain"`
}

type vectorServer struct {
	Private string `json:"private"`
	Public  string `json:"public"`
	KeyID   string `json:"key_id"`
}

type vectorRecord struct {
	Name   string `json:"name"`
	At     int64  `json:"at_ms"`
	Issuer string `json:"issuer"`
	CTI    string `json:"cti"`
	Clock  string `json:"clock"`
	Skew   int64  `json:"skew_ms"`
	Stale  bool   `json:"stale_trust"`
	Record string `json:"record"`
}

type vectorRefused struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Record string `json:"record"`
}

type vectorEpoch struct {
	Name     string `json:"name"`
	Facility string `json:"facility"`
	Gate     string `json:"gate"`
	First    uint64 `json:"first"`
	KeyID    string `json:"key_id"`
	Enc      string `json:"enc"`
	EpochID  string `json:"epoch_id"`
}

type vectorSealed struct {
	Name     string `json:"name"`
	Epoch    string `json:"epoch"`              // name of an epoch
	Facility string `json:"facility,omitempty"` // if not the epoch's
	Gate     string `json:"gate,omitempty"`     // if not the epoch's
	Seq      uint64 `json:"seq"`
	Nonce    string `json:"nonce,omitempty"`
	Data     string `json:"additional_data,omitempty"`
	Record   string `json:"record,omitempty"`
	Sealed   string `json:"sealed"`
}

type vectorChain struct {
	Journal string      `json:"journal"`
	Genesis string      `json:"genesis"`
	Steps   []chainStep `json:"steps"`
}

type chainStep struct {
	Seq    uint64 `json:"seq"`
	Sealed string `json:"sealed"`
	Chain  string `json:"chain"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	return testkit.ReadVectors[vectors](t, vectorFile)
}

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	made := makeVectors(t)
	if *update {
		sealVectors(t, &made)
	} else {
		kept := readVectors(t)
		made.Epochs, made.Sealed, made.Unsealable, made.Chain = kept.Epochs, kept.Sealed, kept.Unsealable, chainVectors(t, kept.Sealed)
	}
	testkit.CheckVectors(t, vectorFile, made, *update)
}

func makeVectors(t *testing.T) vectors {
	key := serverKey(t)
	private, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	v := vectors{
		About:  "Visit records, their sealing and chaining, as in visit/SPEC.md.",
		Server: vectorServer{hex.EncodeToString(private), hex.EncodeToString(key.Public().Bytes()), key.ID().String()},
	}
	for _, c := range goodVisits() {
		b, err := c.visit.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		v.Records = append(v.Records, vectorRecord{
			c.name, c.visit.At.UnixMilli(), c.visit.Issuer, hex.EncodeToString(c.visit.CTI[:]), c.visit.Clock.String(),
			c.visit.Skew.Milliseconds(), c.visit.StaleTrust, hex.EncodeToString(b),
		})
	}
	for _, c := range badRecords() {
		v.NotRecords = append(v.NotRecords, vectorRefused{c.name, c.reason, hex.EncodeToString(c.record)})
	}
	return v
}

// sealVectors makes epochs from a fixed stream of random bytes.
func sealVectors(t *testing.T, v *vectors) {
	cryptotest.SetGlobalRandom(t, 1)
	key := serverKey(t)
	type sealing struct {
		name, facility, gate string
		first                uint64
		seqs                 []uint64
	}
	for _, e := range []sealing{
		{"the first epoch of a journal", "cafe-hangang", "gate-1", 1, []uint64{1, 2}},
		{"a later epoch", "cafe-hangang", "gate-1", 3, []uint64{3, 4, 1 << 40}},
		{"the longest names", strings.Repeat("f", 32), strings.Repeat("9", 32), 7, []uint64{7}},
	} {
		s, err := visit.NewSealer(key.Public(), visit.Facility(e.facility), visit.Gate(e.gate), e.first)
		if err != nil {
			t.Fatal(err)
		}
		epoch := s.Epoch()
		v.Epochs = append(v.Epochs, vectorEpoch{e.name, e.facility, e.gate, e.first, epoch.Key.String(), hex.EncodeToString(epoch.Enc), epoch.ID().String()})
		for i, seq := range e.seqs {
			record := v.Records[i%len(v.Records)].Record
			sealed := s.Seal(nil, seq, testkit.Unhex(t, record))
			v.Sealed = append(v.Sealed, vectorSealed{
				Name: e.name + ", record " + string(rune('a'+i)), Epoch: e.name, Seq: seq, Nonce: hex.EncodeToString(nonceOf(seq)),
				Data: hex.EncodeToString(additionalData(e.facility, e.gate, epoch.ID(), seq)), Record: record, Sealed: hex.EncodeToString(sealed),
			})
		}
	}
	good := v.Sealed[0]
	bad := func(name string, f func(*vectorSealed)) {
		b := vectorSealed{Name: name, Epoch: good.Epoch, Seq: good.Seq, Sealed: good.Sealed}
		f(&b)
		v.Unsealable = append(v.Unsealable, b)
	}
	bad("another facility", func(b *vectorSealed) { b.Facility = "cafe-hangan" })
	bad("another gate", func(b *vectorSealed) { b.Gate = "gate-2" })
	bad("a character moved from facility to gate", func(b *vectorSealed) { b.Facility, b.Gate = "cafe-hangangg", "ate-1" })
	bad("another epoch", func(b *vectorSealed) { b.Epoch = v.Epochs[1].Name })
	bad("another sequence", func(b *vectorSealed) { b.Seq++ })
	bad("sequence 0", func(b *vectorSealed) { b.Seq = 0 })
	bad("cut by one byte", func(b *vectorSealed) { b.Sealed = b.Sealed[:len(b.Sealed)-2] })
	bad("nothing", func(b *vectorSealed) { b.Sealed = "" })
	bad("another record's bytes", func(b *vectorSealed) { b.Sealed = v.Sealed[1].Sealed })
	v.Chain = chainVectors(t, v.Sealed)
}

func chainVectors(t *testing.T, sealed []vectorSealed) vectorChain {
	id := visit.JournalID(bytes.Repeat([]byte{0xa5}, 16))
	c := visit.Genesis(id)
	out := vectorChain{Journal: id.String(), Genesis: hex.EncodeToString(c[:])}
	for _, s := range sealed[:4] {
		c = c.Next(visit.Sealed{Seq: s.Seq, Data: testkit.Unhex(t, s.Sealed)})
		out.Steps = append(out.Steps, chainStep{s.Seq, s.Sealed, hex.EncodeToString(c[:])})
	}
	return out
}

func TestRecordVectors(t *testing.T) {
	v := readVectors(t)
	for _, r := range v.Records {
		t.Run(r.Name, func(t *testing.T) {
			got, err := visit.Unmarshal(testkit.Unhex(t, r.Record))
			if err != nil {
				t.Fatal(err)
			}
			want := visit.Visit{
				At: time.UnixMilli(r.At).UTC(), Issuer: r.Issuer, CTI: visit.CTI(testkit.Unhex(t, r.CTI)), Clock: got.Clock,
				Skew: time.Duration(r.Skew) * time.Millisecond, StaleTrust: r.Stale,
			}
			if got != want || got.Clock.String() != r.Clock {
				t.Errorf("got %+v, want %+v with clock %s", got, want, r.Clock)
			}
			if again, err := got.Marshal(); err != nil || hex.EncodeToString(again) != r.Record {
				t.Errorf("encoded again as %x (%v)", again, err)
			}
		})
	}
	for _, r := range v.NotRecords {
		t.Run(r.Name, func(t *testing.T) {
			got, err := visit.Unmarshal(testkit.Unhex(t, r.Record))
			if !errors.Is(err, visit.ErrRecord) || !strings.Contains(err.Error(), r.Reason) || got != (visit.Visit{}) {
				t.Errorf("%v, want a refusal with %q", err, r.Reason)
			}
		})
	}
}

// openerOf uses nothing but the file.
func openerOf(t testing.TB, v vectors, s vectorSealed) *visit.Opener {
	t.Helper()
	key, err := visit.ParseSealPrivateKey(testkit.Unhex(t, v.Server.Private))
	if err != nil {
		t.Fatal(err)
	}
	e := v.Epochs[slices.IndexFunc(v.Epochs, func(e vectorEpoch) bool { return e.Name == s.Epoch })]
	epoch := visit.Epoch{First: e.First, Key: visit.SealKeyID(testkit.Unhex(t, e.KeyID)), Enc: testkit.Unhex(t, e.Enc)}
	if epoch.ID().String() != e.EpochID {
		t.Fatalf("epoch %s is named %v, want %s", e.Name, epoch.ID(), e.EpochID)
	}
	facility, gate := e.Facility, e.Gate
	if s.Facility != "" {
		facility = s.Facility
	}
	if s.Gate != "" {
		gate = s.Gate
	}
	o, err := visit.NewOpener(key, visit.Facility(facility), visit.Gate(gate), epoch)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSealingVectors(t *testing.T) {
	v := readVectors(t)
	key, err := visit.ParseSealPrivateKey(testkit.Unhex(t, v.Server.Private))
	if err != nil || key.ID().String() != v.Server.KeyID || hex.EncodeToString(key.Public().Bytes()) != v.Server.Public {
		t.Fatalf("the server's keys do not belong together (%v)", err)
	}
	if pub, err := visit.ParseSealPublicKey(testkit.Unhex(t, v.Server.Public)); err != nil || pub.ID() != key.ID() {
		t.Fatalf("public key %v (%v), want %v", pub.ID(), err, key.ID())
	}
	for _, s := range v.Sealed {
		t.Run(s.Name, func(t *testing.T) {
			got, err := openerOf(t, v, s).Open(s.Seq, testkit.Unhex(t, s.Sealed))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := got.Marshal(); err != nil || hex.EncodeToString(b) != s.Record {
				t.Errorf("opened as %x (%v)", b, err)
			}
			if byHand := openByHand(t, v, s); hex.EncodeToString(byHand) != s.Record {
				t.Errorf("opened by hand as %x", byHand)
			}
		})
	}
	for _, s := range v.Unsealable {
		t.Run(s.Name, func(t *testing.T) {
			if got, err := openerOf(t, v, s).Open(s.Seq, testkit.Unhex(t, s.Sealed)); !errors.Is(err, visit.ErrUnsealable) || got != (visit.Visit{}) {
				t.Errorf("opened (%v)", err)
			}
		})
	}
}

func TestChainVectors(t *testing.T) {
	v := readVectors(t)
	c := visit.Genesis(visit.JournalID(testkit.Unhex(t, v.Chain.Journal)))
	if hex.EncodeToString(c[:]) != v.Chain.Genesis {
		t.Fatalf("genesis %x, want %s", c, v.Chain.Genesis)
	}
	for _, s := range v.Chain.Steps {
		c = c.Next(visit.Sealed{Seq: s.Seq, Data: testkit.Unhex(t, s.Sealed)})
		if hex.EncodeToString(c[:]) != s.Chain {
			t.Fatalf("after record %d: %x, want %s", s.Seq, c, s.Chain)
		}
	}
}
