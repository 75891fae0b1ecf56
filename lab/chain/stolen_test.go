package chain

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hpke"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/lab/internal/process"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

// A thief takes a gate with visits it could not yet deliver: everything on its disk, the config with its secrets among
// it, tells no code. And an enrolled gate that is started without a network serves its visitors.
func TestStolenGateTellsNothing(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	ctx := t.Context()
	s := &stage{programs: process.Programs{Bin: bin, Logs: t.TempDir()}, dir: t.TempDir()}
	s.line = testkit.Must(newLine(115200))(t)
	defer s.line.close()
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.build(ctx, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.inService(ctx); err != nil {
		t.Fatal(err)
	}
	s.killGate()
	s.network.refuse()
	if err := s.startGate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.inService(ctx); err != nil {
		t.Fatalf("started without a network: %v", err)
	}

	door := &door{line: s.line, viewer: newViewer(s.screen, s.begunGates), truth: newTruth(), issuers: s.issuers, rng: rand.New(rand.NewPCG(1, 1)), generation: s.generation, steady: s.steady,
		troubled: &s.troubled, delays: &delays{}}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); door.viewer.run(watching) }()
	defer func() { stop(); <-watched }()
	for range 5 {
		if err := door.enter(ctx, actEntry); err != nil {
			t.Fatal(err)
		}
	}
	if len(door.recent) != 5 || len(door.truth.wrong) != 0 {
		t.Fatalf("%d of 5 visitors were admitted without a network: %+v", len(door.recent), door.truth.wrong)
	}
	s.killGate()
	s.gate = nil

	disk := readDisk(t, s.path("gate"), s.path("gate.toml"), s.path("visits", "server-ca.pem"))
	for i, a := range door.recent {
		cti := ctiOf(t, s, a.code.text)
		for _, file := range disk {
			for piece := 0; piece+8 <= len(cti); piece++ {
				if bytes.Contains(file.data, cti[piece:piece+8]) {
					t.Fatalf("%s holds bytes of code %d", file.name, i)
				}
			}
			if bytes.Contains(file.data, []byte(hex.EncodeToString(cti[:12]))) || bytes.Contains(file.data, []byte(base64.StdEncoding.EncodeToString(cti[:12]))) || bytes.Contains(file.data, []byte(a.code.text[10:40])) {
				t.Fatalf("%s holds code %d as text", file.name, i)
			}
		}
	}
	ledger, err := journal.Contents(s.path("gate", "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ledger.Pending.Records); n != 5 {
		t.Fatalf("%d records are pending, want 5", n)
	}
	tryEveryKey(t, disk, ledger)
}

type diskFile struct {
	name string
	data []byte
}

func readDisk(t *testing.T, roots ...string) []diskFile {
	t.Helper()
	var files []diskFile
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			files = append(files, diskFile{path, data})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// ctiOf reads the code as its issuer's key allows anyone to.
func ctiOf(t *testing.T, s *stage, text string) token.CTI {
	t.Helper()
	raw, err := os.ReadFile(s.path("trust.list"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := base64.StdEncoding.DecodeString(s.root)
	if err != nil {
		t.Fatal(err)
	}
	trust := token.NewTrust(ed25519.PublicKey(root))
	if err := trust.Update(raw); err != nil {
		t.Fatal(err)
	}
	u, err := token.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	code, err := u.Verify(trust)
	if err != nil {
		t.Fatal(err)
	}
	return code.CTI()
}

// tryEveryKey takes every 32 bytes in a row that stand anywhere on the disk for the key of the first record.
func tryEveryKey(t *testing.T, disk []diskFile, ledger journal.Ledger) {
	t.Helper()
	record := ledger.Pending.Records[0]
	epoch, ok := ledger.Pending.EpochOf(record.Seq)
	if !ok {
		t.Fatal("the record has no epoch")
	}
	keys := 0
	for _, file := range disk {
		for i := 0; i+32 <= len(file.data); i++ {
			if keys++; opens(t, file.data[i:i+32], epoch.ID(), record) {
				t.Fatalf("the key of a record stands in %s at %d", file.name, i)
			}
		}
	}
	if keys < 10_000 {
		t.Errorf("only %d keys were tried: the disk was not read", keys)
	}
}

// opens tries a key on a record, by visit/SPEC.md and the standard library alone.
func opens(t *testing.T, key []byte, epoch visit.EpochID, record visit.Sealed) bool {
	t.Helper()
	aad := []byte("kipass visit record v1")
	aad = append(append(aad, byte(len(facility))), facility...)
	aad = append(append(aad, byte(len(gateName))), gateName...)
	aad = binary.BigEndian.AppendUint64(append(aad, epoch[:]...), record.Seq)
	nonce := binary.BigEndian.AppendUint64(make([]byte, 4), record.Seq)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gcm.Open(nil, nonce, record.Data, aad)
	return err == nil
}

// The way in which the thief tries keys is the right one: the key that the server's private key gives does open a record.
func TestOpensWithTheServersKey(t *testing.T) {
	server, err := visit.GenerateSealKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := visit.NewSealer(server.Public(), facility, gateName, 1)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := visit.Visit{At: time.Now().Truncate(time.Millisecond), Issuer: "naver"}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	record := visit.Sealed{Seq: 1, Data: sealer.Seal(nil, 1, plain)}

	raw, err := server.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	private, err := hpke.MLKEM768X25519().NewPrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := hpke.NewRecipient(sealer.Epoch().Enc, private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("kipass visit epoch v1"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := recipient.Export("kipass visit record key v1", 32)
	if err != nil {
		t.Fatal(err)
	}
	if !opens(t, key, sealer.Epoch().ID(), record) {
		t.Error("the right key does not open the record")
	}
}
