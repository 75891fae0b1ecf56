package visit_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	facility = visit.Facility("cafe-hangang")
	gate     = visit.Gate("gate-1")
)

// serverKey is the fixed private key of tests and vectors.
func serverKey(t testing.TB) visit.SealPrivateKey {
	t.Helper()
	k, err := visit.ParseSealPrivateKey(bytes.Repeat([]byte{0x4b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSealer(t testing.TB, first uint64) *visit.Sealer {
	t.Helper()
	s, err := visit.NewSealer(serverKey(t).Public(), facility, gate, first)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(t testing.TB) []byte {
	t.Helper()
	b, err := ordinary().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// nonceOf, additionalData and openByHand repeat SPEC.md from the standard library alone.
func nonceOf(seq uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), seq) }

func additionalData(facility, gate string, e visit.EpochID, seq uint64) []byte {
	b := append([]byte("kipass visit record v1"), byte(len(facility)))
	b = append(append(b, facility...), byte(len(gate)))
	b = append(append(b, gate...), e[:]...)
	return binary.BigEndian.AppendUint64(b, seq)
}

func openByHand(t *testing.T, v vectors, s vectorSealed) []byte {
	t.Helper()
	key, err := hpke.MLKEM768X25519().NewPrivateKey(testkit.Unhex(t, v.Server.Private))
	if err != nil {
		t.Fatal(err)
	}
	e := v.Epochs[slices.IndexFunc(v.Epochs, func(e vectorEpoch) bool { return e.Name == s.Epoch })]
	r, err := hpke.NewRecipient(testkit.Unhex(t, e.Enc), key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("kipass visit epoch v1"))
	if err != nil {
		t.Fatal(err)
	}
	epochKey, err := r.Export("kipass visit record key v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(epochKey)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	b, err := gcm.Open(nil, testkit.Unhex(t, s.Nonce), testkit.Unhex(t, s.Sealed), testkit.Unhex(t, s.Data))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(testkit.Unhex(t, s.Nonce), nonceOf(s.Seq)) || !bytes.Equal(testkit.Unhex(t, s.Data), additionalData(e.Facility, e.Gate, visit.EpochID(testkit.Unhex(t, e.EpochID)), s.Seq)) {
		t.Error("nonce or additional data are not laid out as they should be")
	}
	return b
}

func TestSealAndOpen(t *testing.T) {
	s := newSealer(t, 5)
	if e := s.Epoch(); e.First != 5 || len(e.Enc) != visit.EncSize || e.Key != serverKey(t).ID() {
		t.Fatalf("epoch from %d with %d bytes for key %v", e.First, len(e.Enc), e.Key)
	}
	o, err := visit.NewOpener(serverKey(t), facility, gate, s.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range goodVisits() {
		b, err := c.visit.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(5 + i)
		head := []byte("head")
		sealed := s.Seal(head, seq, b)
		if !bytes.HasPrefix(sealed, head) || len(sealed) != len(head)+len(b)+visit.SealOverhead {
			t.Fatalf("%s: %d bytes sealed as %d", c.name, len(b), len(sealed)-len(head))
		}
		if got, err := o.Open(seq, sealed[len(head):]); err != nil || got != c.visit {
			t.Errorf("%s: opened as %v (%v)", c.name, got, err)
		}
	}
}

func TestUnsealableElsewhere(t *testing.T) {
	s := newSealer(t, 1)
	sealed := s.Seal(nil, 1, record(t))
	otherKey, err := visit.GenerateSealKey()
	if err != nil {
		t.Fatal(err)
	}
	damaged := s.Epoch()
	damaged.Enc = bytes.Clone(damaged.Enc)
	damaged.Enc[700] ^= 1
	short := s.Epoch()
	short.Enc = short.Enc[1:]
	forOther := s.Epoch()
	forOther.Key = otherKey.ID()
	for _, c := range []struct {
		name     string
		key      visit.SealPrivateKey
		facility visit.Facility
		gate     visit.Gate
		epoch    visit.Epoch
		seq      uint64
	}{
		{"another facility", serverKey(t), "cafe-hangan", gate, s.Epoch(), 1},
		{"another gate", serverKey(t), facility, "gate-2", s.Epoch(), 1},
		{"facility and gate exchanged", serverKey(t), visit.Facility(gate), visit.Gate(facility), s.Epoch(), 1},
		{"a character moved from facility to gate", serverKey(t), "cafe-hangan", "ggate-1", s.Epoch(), 1},
		{"another epoch", serverKey(t), facility, gate, newSealer(t, 1).Epoch(), 1},
		{"a damaged epoch", serverKey(t), facility, gate, damaged, 1},
		{"an epoch cut short", serverKey(t), facility, gate, short, 1},
		{"no epoch", serverKey(t), facility, gate, visit.Epoch{Key: serverKey(t).ID()}, 1},
		{"the sequence before", serverKey(t), facility, gate, s.Epoch(), 0},
		{"the sequence after", serverKey(t), facility, gate, s.Epoch(), 2},
		{"another key", otherKey, facility, gate, s.Epoch(), 1},
		{"another key that the epoch names", otherKey, facility, gate, forOther, 1},
		{"an epoch that names another key", serverKey(t), facility, gate, forOther, 1},
		{"no key", visit.SealPrivateKey{}, facility, gate, s.Epoch(), 1},
		{"no facility", serverKey(t), "", gate, s.Epoch(), 1},
		{"a gate that is no name", serverKey(t), facility, visit.Gate(strings.Repeat("g", 256+len(gate))), s.Epoch(), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := visit.NewOpener(c.key, c.facility, c.gate, c.epoch)
			if err == nil {
				var v visit.Visit
				if v, err = o.Open(c.seq, sealed); v != (visit.Visit{}) {
					t.Error("a visit beside an error")
				}
			}
			if !errors.Is(err, visit.ErrUnsealable) {
				t.Errorf("opened (%v)", err)
			}
		})
	}
}

func TestOpenerRefusesNoPlaces(t *testing.T) {
	e := newSealer(t, 1).Epoch()
	for _, name := range []string{"", "Cafe", strings.Repeat("z", 33), strings.Repeat("z", 300)} {
		if o, err := visit.NewOpener(serverKey(t), visit.Facility(name), gate, e); o != nil || !errors.Is(err, visit.ErrUnsealable) {
			t.Errorf("facility %q: %v", name, err)
		}
		if o, err := visit.NewOpener(serverKey(t), facility, visit.Gate(name), e); o != nil || !errors.Is(err, visit.ErrUnsealable) {
			t.Errorf("gate %q: %v", name, err)
		}
	}
}

func TestAnyBitChangedIsUnsealable(t *testing.T) {
	s := newSealer(t, 1)
	sealed := s.Seal(nil, 1, record(t))
	o, err := visit.NewOpener(serverKey(t), facility, gate, s.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := o.Open(1, bad); !errors.Is(err, visit.ErrUnsealable) {
			t.Fatalf("bit %d changed: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := o.Open(1, sealed[:n]); !errors.Is(err, visit.ErrUnsealable) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := o.Open(1, sealed); err != nil {
		t.Fatal(err)
	}
}

func TestSealedNonsenseIsNoRecord(t *testing.T) {
	s := newSealer(t, 1)
	o, err := visit.NewOpener(serverKey(t), facility, gate, s.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range badRecords() {
		seq := uint64(i + 1)
		if _, err := o.Open(seq, s.Seal(nil, seq, c.record)); !errors.Is(err, visit.ErrRecord) || errors.Is(err, visit.ErrUnsealable) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTheSameRecordLooksDifferentEachTime(t *testing.T) {
	a, b := newSealer(t, 1), newSealer(t, 1)
	if a.Epoch().ID() == b.Epoch().ID() {
		t.Fatal("two epochs of one name")
	}
	r := record(t)
	first := a.Seal(nil, 1, r)
	if again := b.Seal(nil, 1, r); bytes.Equal(first, again) || bytes.Equal(first[:len(r)], again[:len(r)]) {
		t.Error("the same record under the same sequence is sealed alike in two epochs")
	}
	if next := a.Seal(nil, 2, r); bytes.Equal(first[:len(r)], next[:len(r)]) {
		t.Error("the same record is sealed alike twice in one epoch")
	}
	cti := testCTI()
	if bytes.Contains(first, cti[:8]) {
		t.Error("the sealed record shows its cti")
	}
}

func TestASequenceIsSealedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		seqs []uint64
		ok   bool
	}{
		{"rising", []uint64{5, 6, 7}, true},
		{"rising with gaps", []uint64{6, 9}, true},
		{"twice", []uint64{5, 5}, false},
		{"falling", []uint64{7, 6}, false},
		{"before the epoch", []uint64{4}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSealer(t, 5)
			var said any
			func() {
				defer func() { said = recover() }()
				for _, seq := range c.seqs {
					s.Seal(nil, seq, record(t))
				}
			}()
			if (said == nil) != c.ok {
				t.Errorf("panic: %v", said)
			}
		})
	}
}

func TestNewSealerRefuses(t *testing.T) {
	pub := serverKey(t).Public()
	for name, make := range map[string]func() (*visit.Sealer, error){
		"no key":      func() (*visit.Sealer, error) { return visit.NewSealer(visit.SealPublicKey{}, facility, gate, 1) },
		"no facility": func() (*visit.Sealer, error) { return visit.NewSealer(pub, "", gate, 1) },
		"no gate":     func() (*visit.Sealer, error) { return visit.NewSealer(pub, facility, "", 1) },
		"a long facility": func() (*visit.Sealer, error) {
			return visit.NewSealer(pub, visit.Facility(strings.Repeat("f", 300)), gate, 1)
		},
	} {
		if s, err := make(); err == nil || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealKeys(t *testing.T) {
	k, err := visit.GenerateSealKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Bytes()
	if err != nil || len(b) != 32 {
		t.Fatalf("%d bytes (%v)", len(b), err)
	}
	secret := bytes.Clone(b)
	back, err := visit.ParseSealPrivateKey(b)
	if err != nil || back.ID() != k.ID() || !bytes.Equal(back.Public().Bytes(), k.Public().Bytes()) {
		t.Fatalf("%v comes back as %v (%v)", k.ID(), back.ID(), err)
	}
	clear(b)
	for name, key := range map[string]visit.SealPrivateKey{"the key": k, "the parsed key": back} {
		if again, err := key.Bytes(); err != nil || !bytes.Equal(again, secret) {
			t.Errorf("%s changed with the caller's bytes", name)
		}
	}
	pub, err := visit.ParseSealPublicKey(k.Public().Bytes())
	if err != nil || pub.ID() != k.ID() || len(pub.Bytes()) != 1216 {
		t.Errorf("public key %v of %d bytes (%v)", pub.ID(), len(pub.Bytes()), err)
	}
	if id, err := visit.ParseSealKeyID(k.ID().String()); err != nil || id != k.ID() {
		t.Errorf("%v is read as %v (%v)", k.ID(), id, err)
	}
	for _, text := range []string{"", "0102", k.ID().String() + "00", "key", strings.Repeat("x", 16)} {
		if _, err := visit.ParseSealKeyID(text); err == nil {
			t.Errorf("%q is read as a key's name", text)
		}
	}
	for _, n := range []int{0, 31, 33, 1215, 1217} {
		if _, err := visit.ParseSealPrivateKey(make([]byte, n)); err == nil {
			t.Errorf("a private key of %d bytes", n)
		}
		if _, err := visit.ParseSealPublicKey(make([]byte, n)); err == nil {
			t.Errorf("a public key of %d bytes", n)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q", "%t", "%e", "%c", "%U"} {
		for _, x := range []any{k, &k, []visit.SealPrivateKey{k}, struct{ K visit.SealPrivateKey }{k}} {
			s := fmt.Sprintf(verb, x)
			if strings.Contains(s, fmt.Sprintf("%x", secret[:8])) || strings.Contains(s, strings.Trim(fmt.Sprint(secret[:8]), "[]")) || strings.Contains(s, string(secret[:8])) {
				t.Errorf("%s shows the private key: %s", verb, s)
			}
		}
	}
	if s := fmt.Sprint(k); s != "sealing key "+k.ID().String() {
		t.Errorf("the key prints as %q", s)
	}
}

func TestOpenerServesManyAtOnce(t *testing.T) {
	const n = 200
	s := newSealer(t, 1)
	var sealed [n + 1][]byte
	for seq := uint64(1); seq <= n; seq++ {
		sealed[seq] = s.Seal(nil, seq, record(t))
	}
	o, err := visit.NewOpener(serverKey(t), facility, gate, s.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range n {
				seq := uint64((i*(2*w+1))%n + 1)
				if v, err := o.Open(seq, sealed[seq]); err != nil || v != ordinary() {
					t.Errorf("record %d: %v", seq, err)
				}
			}
		})
	}
	all.Wait()
}

// FuzzOpen gives an opener arbitrary bytes: nothing that was not sealed opens.
func FuzzOpen(f *testing.F) {
	v := readVectors(f)
	good := map[uint64]string{}
	first := v.Sealed[0]
	for _, s := range v.Sealed {
		f.Add(s.Seq, testkit.Unhex(f, s.Sealed))
		if s.Epoch == first.Epoch {
			good[s.Seq] = string(testkit.Unhex(f, s.Sealed))
		}
	}
	for _, s := range v.Unsealable {
		f.Add(s.Seq, testkit.Unhex(f, s.Sealed))
	}
	o := openerOf(f, v, first)
	f.Fuzz(func(t *testing.T, seq uint64, sealed []byte) {
		got, err := o.Open(seq, sealed)
		if known, ok := good[seq]; ok && known == string(sealed) {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if !errors.Is(err, visit.ErrUnsealable) || got != (visit.Visit{}) {
			t.Fatalf("opened (%v)", err)
		}
	})
}
