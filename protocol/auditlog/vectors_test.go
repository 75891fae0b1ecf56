package auditlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/kipass/kipass/internal/testkit"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorFile = "testdata/vectors.json"

// vectors is the published file: one log after each of its entries, and logs that do not hold.
type vectors struct {
	About    string           `json:"about"`
	Origin   string           `json:"origin"`
	Private  string           `json:"private"`  // Ed25519 seed of the log's key, in hexadecimal
	Verifier string           `json:"verifier"` // C2SP signed-note verifier key
	States   []vectorState    `json:"states"`
	Tampered []vectorTampered `json:"tampered"`
}

// vectorState is the log when it has grown by one entry.
type vectorState struct {
	Name       string `json:"name"`
	Entry      Entry  `json:"entry,omitzero"`
	Line       string `json:"line,omitempty"` // without its line feed
	LeafHash   string `json:"leaf_hash,omitempty"`
	Root       string `json:"root"`
	Checkpoint string `json:"checkpoint"`
}

type vectorTampered struct {
	Name       string `json:"name"`
	Entries    string `json:"entries"`
	Checkpoint string `json:"checkpoint"`
	Older      string `json:"older,omitempty"` // a checkpoint that an auditor kept; without it the log holds
}

func TestSpecExamplesAreVectors(t *testing.T) { testkit.SpecExamples(t, 4) }

func TestVectorFileIsWhatTheCodeMakes(t *testing.T) {
	testkit.CheckVectors(t, vectorFile, makeVectors(t), *update)
}

// logged are entries of every kind, with every field.
func logged() []Entry {
	order := Entry{
		Order: strings.Repeat("0f", 16), Case: "2020-0701-17", Officer: "kim", Approver: "lee",
		From: start.Add(-48 * time.Hour), To: start.Add(-24 * time.Hour), Digest: strings.Repeat("cd", 32),
	}
	at := func(e Entry, kind string, minutes int, count uint64) Entry {
		e.Kind, e.At, e.Count = kind, start.Add(time.Duration(minutes)*time.Minute+123*time.Millisecond), count
		return e
	}
	placed := order
	placed.Facility = "hongdae-12"
	opening := at(order, KindOpening, 2, 211)
	opening.Refused = 3
	contacts := at(placed, KindContacts, 3, 180)
	contacts.LogEntries, contacts.Note = []string{"visits#0", "naver#7"}, "incomplete"
	refused := at(placed, KindRefused, 6, 0)
	refused.Note = "recipient-refused"
	register := at(Entry{Register: RegisterOfficers, Name: "kim", Key: "34750f98bd59fcfc", Removed: true}, KindRegister, 7, 0)
	destruction := at(Entry{Day: "2020-06-02", Digest: strings.Repeat("ab", 32)}, KindDestruction, 5, 90412)
	return []Entry{
		at(placed, KindOrder, 0, 0), at(placed, KindInquiry, 1, 214), opening, contacts, at(placed, KindOpened, 4, 180), destruction,
		refused, register, at(placed, KindAsked, 8, 0),
	}
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	key := testKey(1)
	v := vectors{
		About: "An audit log after each of its entries, and logs that do not hold, as in protocol/auditlog/SPEC.md.", Origin: origin,
		Private: hex.EncodeToString(key.Seed()), Verifier: testkit.Must(VerifierKey(origin, public(key)))(t),
	}
	l := testkit.Must(Open(t.TempDir(), key, origin))(t)
	defer l.Close()
	state := func(s vectorState) {
		root := testkit.Must(l.tree.root())(t)
		s.Root, s.Checkpoint = base64.StdEncoding.EncodeToString(root[:]), string(l.Checkpoint())
		v.States = append(v.States, s)
	}
	state(vectorState{Name: "empty"})
	var lines []string
	for _, e := range logged() {
		testkit.Must(l.Append(e))(t)
		line := string(testkit.Must(e.leaf())(t))
		lines = append(lines, line+"\n")
		leaf := tlog.RecordHash([]byte(line))
		state(vectorState{Name: e.Kind, Entry: e, Line: line, LeafHash: base64.StdEncoding.EncodeToString(leaf[:])})
	}
	v.tamper(t, lines[:tamperedEntries])
	return v
}

// tamperedEntries is how many entries a log has that is tampered with.
const tamperedEntries = 3

// tamper adds logs that do not hold.
func (v *vectors) tamper(t *testing.T, lines []string) {
	t.Helper()
	whole, signed := strings.Join(lines, ""), v.States[tamperedEntries].Checkpoint
	add := func(name, entries, checkpoint, older string) {
		v.Tampered = append(v.Tampered, vectorTampered{name, entries, checkpoint, older})
	}
	add("a letter changed", strings.Replace(whole, `"lee"`, `"Lee"`, 1), signed, "")
	add("an entry dropped", strings.Join(lines[1:], ""), signed, "")
	add("two entries swapped", strings.Join(append([]string{lines[1], lines[0]}, lines[2:]...), ""), signed, "")
	add("the last line feed cut off", strings.TrimSuffix(whole, "\n"), signed, "")
	add("another number of entries in the checkpoint", whole, strings.Replace(signed, "\n3\n", "\n2\n", 1), "")
	add("signed by another key", whole, checkpointOf(t, testKey(2), logged()[:tamperedEntries]), "")
	forged := logged()[:tamperedEntries]
	forged[1].Count = 14
	var changed strings.Builder
	for _, e := range forged {
		changed.Write(append(testkit.Must(e.leaf())(t), '\n'))
	}
	add("rewritten and signed again by the log's key", changed.String(), checkpointOf(t, testKey(1), forged), v.States[3].Checkpoint)
	add("an older state put back", strings.Join(lines[:2], ""), v.States[2].Checkpoint, v.States[3].Checkpoint)
}

// checkpointOf returns the checkpoint of a log of these entries under a key.
func checkpointOf(t *testing.T, key ed25519.PrivateKey, entries []Entry) string {
	t.Helper()
	l := testkit.Must(Open(t.TempDir(), key, origin))(t)
	defer l.Close()
	for _, e := range entries {
		testkit.Must(l.Append(e))(t)
	}
	return string(l.Checkpoint())
}

// TestVectors uses nothing but the file, as another implementation would.
func TestVectors(t *testing.T) {
	v := testkit.ReadVectors[vectors](t, vectorFile)
	key := ed25519.NewKeyFromSeed(testkit.Must(hex.DecodeString(v.Private))(t))
	if got := testkit.Must(VerifierKey(v.Origin, public(key)))(t); got != v.Verifier {
		t.Errorf("verifier key %s, want %s", got, v.Verifier)
	}
	var entries []byte
	var older [][]byte
	for i, s := range v.States {
		if i > 0 {
			entries = append(append(entries, s.Line...), '\n')
			leaf := tlog.RecordHash([]byte(s.Line))
			if got := base64.StdEncoding.EncodeToString(leaf[:]); got != s.LeafHash {
				t.Errorf("%s: leaf hash %s, want %s", s.Name, got, s.LeafHash)
			}
		}
		if root := strings.Split(s.Checkpoint, "\n")[2]; root != s.Root {
			t.Errorf("%s: root %s in the checkpoint, want %s", s.Name, root, s.Root)
		}
		older = append(older, []byte(s.Checkpoint))
		r, err := Check(entries, []byte(s.Checkpoint), v.Verifier, older...)
		if err != nil || r.Size != uint64(i) || r.Unsigned != 0 {
			t.Fatalf("%s: %d entries, %d unsigned bytes, %v", s.Name, r.Size, r.Unsigned, err)
		}
		if i > 0 && string(testkit.Must(r.Entries[i-1].leaf())(t)) != s.Line {
			t.Errorf("%s: entry reads as %+v", s.Name, r.Entries[i-1])
		}
	}
	for _, c := range v.Tampered {
		if c.Older != "" {
			testkit.Must(Check([]byte(c.Entries), []byte(c.Checkpoint), v.Verifier))(t)
		}
		kept := [][]byte{}
		if c.Older != "" {
			kept = append(kept, []byte(c.Older))
		}
		if r, err := Check([]byte(c.Entries), []byte(c.Checkpoint), v.Verifier, kept...); !errors.Is(err, ErrTampered) || r.Size != 0 {
			t.Errorf("%s: %v, want it found", c.Name, err)
		}
	}
}
