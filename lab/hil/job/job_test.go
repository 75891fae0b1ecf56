package job

import (
	"bytes"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

func TestJobsAndFactsArriveAsTheyWereSent(t *testing.T) {
	j := Job{Args: []string{"-test.v"}, Env: []string{"A=b"}, Console: "/dev/ttyS0", Journal: &Journal{Disk: Volatile, SealKey: []byte{1, 2}, Known: 7, First: 1 << 40}}
	path := filepath.Join(t.TempDir(), "job.json")
	testkit.Check(t, j.Write(path))
	if got, err := Read(path); err != nil || !reflect.DeepEqual(got, j) {
		t.Errorf("read %+v (%v), wrote %+v", got, err, j)
	}
	for rule, f := range map[string]Fact{
		"an acknowledgement": {Acked: &Acked{Seq: 3, Number: 1 << 60}},
		"an opening":         {Opened: &Opened{Head: 9, Tail: 2, Damage: "torn\nmeta", Segment: []byte{0, 10, 13, 255}}},
		"an end":             {Done: true, Exit: 2},
		"a figure":           {Name: "pulse_ms", Value: 299.5},
	} {
		var out bytes.Buffer
		testkit.Check(t, NewEncoder(&out).Encode(f))
		if bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%s: %q is not one line", rule, out.Bytes())
		}
		if got, ok := ParseFact(out.Bytes()); !ok || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: got %+v (%v), told %+v", rule, got, ok, f)
		}
		torn := out.Bytes()[:out.Len()-3]
		if got, ok := ParseFact(torn); ok {
			t.Errorf("%s: the torn line %q was taken for %+v", rule, torn, got)
		}
	}
}

func TestAMissingJobIsExplained(t *testing.T) {
	if j, err := Read(filepath.Join(t.TempDir(), "none")); err == nil || j.Journal != nil {
		t.Errorf("read %+v, %v", j, err)
	}
}

func FuzzParseFact(f *testing.F) {
	f.Add([]byte("@kipass {\"Acked\":{\"Seq\":1,\"Number\":2}}\n"))
	f.Add([]byte("--- PASS: TestX (0.00s)\n"))
	f.Add([]byte("@kipass {\"Ack"))
	f.Fuzz(func(t *testing.T, line []byte) {
		fact, ok := ParseFact(line)
		if !ok {
			if !reflect.DeepEqual(fact, Fact{}) {
				t.Errorf("a line that is no fact gave %+v", fact)
			}
			return
		}
		var out bytes.Buffer
		if err := NewEncoder(&out).Encode(fact); err != nil {
			t.Skip("a figure that JSON cannot say")
		}
		if again, ok := ParseFact(out.Bytes()); !ok || !reflect.DeepEqual(again, fact) {
			t.Errorf("told again, %+v became %+v", fact, again)
		}
	})
}
