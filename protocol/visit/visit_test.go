package visit_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

var readAt = time.Date(2020, 7, 1, 3, 4, 5, 678_000_000, time.UTC)

func testCTI() (c visit.CTI) {
	for i := range c {
		c[i] = byte(0x51 + 3*i)
	}
	return c
}

func ordinary() visit.Visit {
	return visit.Visit{At: readAt, Issuer: "naver", CTI: testCTI(), Clock: visit.ClockSynced, Skew: 2 * time.Second}
}

type namedVisit struct {
	name  string
	visit visit.Visit
}

func changed(f func(*visit.Visit)) visit.Visit {
	v := ordinary()
	f(&v)
	return v
}

func goodVisits() []namedVisit {
	return []namedVisit{
		{"an ordinary visit", ordinary()},
		{"in holdover, under a stale trust list", changed(func(v *visit.Visit) {
			v.Clock, v.Skew, v.StaleTrust = visit.ClockHoldover, 30*time.Second, true
		})},
		{"the shortest", changed(func(v *visit.Visit) {
			v.At, v.Issuer, v.Clock, v.Skew = time.UnixMilli(0).UTC(), "k", visit.ClockUntrusted, 0
		})},
		{"the longest", changed(func(v *visit.Visit) {
			v.At, v.Issuer, v.Skew = time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC), "abcdefghij-01234", day.MaxSkew
		})},
		{"at a clock before 1970", changed(func(v *visit.Visit) { v.At = time.UnixMilli(-1).UTC() })},
		{"at the earliest time", changed(func(v *visit.Visit) { v.At = time.Time{}.Add(time.Millisecond) })},
		{"a cti of zeros", changed(func(v *visit.Visit) { v.CTI = visit.CTI{} })},
	}
}

type badRecord struct {
	name, reason string
	record       []byte
}

// encodedArray writes an array of the items as they come.
func encodedArray(items ...any) []byte {
	out := []byte{0x80 | byte(len(items))}
	for _, v := range items {
		out = append(out, item(v)...)
	}
	return out
}

// verbatim is an item already encoded.
type verbatim []byte

func item(v any) []byte {
	if b, ok := v.(verbatim); ok {
		return b
	}
	b, err := cbor.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func badRecords() []badRecord {
	cti := testCTI()
	at := readAt.UnixMilli()
	good := func() []any { return []any{1, at, "naver", cti[:], 2, 2000, false} }
	with := func(i int, v any) []byte { g := good(); g[i] = v; return encodedArray(g...) }
	whole := encodedArray(good()...)
	const shape, form = "array of seven", "not canonically"
	return []badRecord{
		{"nothing", shape, []byte{}},
		{"null", "version 0", []byte{0xf6}},
		{"an array of six", shape, encodedArray(good()[:6]...)},
		{"an array of eight", shape, encodedArray(append(good(), 0)...)},
		{"a byte after the end", shape, append(bytes.Clone(whole), 0)},
		{"cut by one byte", shape, whole[:len(whole)-1]},
		{"an array of indefinite length", shape, append(append([]byte{0x9f}, whole[1:]...), 0xff)},
		{"an array head in two bytes", form, append([]byte{0x98, 7}, whole[1:]...)},
		{"tagged", shape, append([]byte{0xd9, 0xd9, 0xf7}, whole...)},
		{"a map", shape, item(map[int]int{1: 1})},
		{"version 0", "version 0", with(0, 0)},
		{"version 2", "version 2", with(0, 2)},
		{"version 257", shape, with(0, 257)},
		{"the version in two bytes", form, with(0, verbatim{0x18, 1})},
		{"the time as a floating-point number", shape, with(1, float64(at)+0.5)},
		{"the time tagged", shape, with(1, verbatim(append([]byte{0xc1}, item(at)...)))},
		{"a time before the year 1", "years 1 to 9999", with(1, int64(-62135596800001))},
		{"the zero time", "years 1 to 9999", with(1, int64(-62135596800000))},
		{"a time after 9999", "years 1 to 9999", with(1, int64(253402300800000))},
		{"the greatest time a number holds", "years 1 to 9999", with(1, int64(math.MaxInt64))},
		{"the least time a number holds", "years 1 to 9999", with(1, int64(math.MinInt64))},
		{"no issuer", "issuer", with(2, "")},
		{"an issuer in capitals", "issuer", with(2, "NAVER")},
		{"an issuer of 17 characters", "issuer", with(2, "abcdefghij-012345")},
		{"an issuer in bytes", shape, with(2, []byte("naver"))},
		{"an issuer that is not UTF-8", shape, with(2, verbatim("\x65nav\xff\xfe"))},
		{"a cti of 43 bytes", "43 bytes", with(3, cti[:43])},
		{"a cti of 45 bytes", "45 bytes", with(3, append(cti[:], 0))},
		{"no cti", "0 bytes", with(3, nil)},
		{"the cti as text", shape, with(3, strings.Repeat("x", 44))},
		{"the cti as numbers", form, with(3, verbatim(append([]byte{0x98, 44}, bytes.Repeat([]byte{1}, 44)...)))},
		{"an unknown clock state", "clock state", with(4, 3)},
		{"a negative clock state", shape, with(4, -1)},
		{"an allowance over the widest", "skew", with(5, 30_001)},
		{"a negative allowance", shape, with(5, -1)},
		{"an allowance over 32 bits", shape, with(5, uint64(1)<<32)},
		{"an allowance in eight bytes", form, with(5, verbatim(binary.BigEndian.AppendUint64([]byte{0x1b}, 2000)))},
		{"the trust flag as a number", shape, with(6, 1)},
		{"the trust flag null", form, with(6, nil)},
	}
}

func TestRecordSizes(t *testing.T) {
	for _, c := range goodVisits() {
		b, err := c.visit.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		switch c.name {
		case "an ordinary visit":
			want = 68
		case "the shortest":
			want = 54
		case "the longest":
			want = 79
		}
		if len(b) < 54 || len(b) > 79 || want > 0 && len(b) != want || len(b)+visit.SealOverhead > visit.MaxSealed {
			t.Errorf("%s: %d bytes, want %d", c.name, len(b), want)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, f := range map[string]func(*visit.Visit){
		"the zero visit":         func(v *visit.Visit) { *v = visit.Visit{} },
		"no time":                func(v *visit.Visit) { v.At = time.Time{} },
		"no issuer":              func(v *visit.Visit) { v.Issuer = "" },
		"a long issuer":          func(v *visit.Visit) { v.Issuer = strings.Repeat("a", 17) },
		"a strange issuer":       func(v *visit.Visit) { v.Issuer = "na ver" },
		"a strange clock":        func(v *visit.Visit) { v.Clock = 3 },
		"a negative skew":        func(v *visit.Visit) { v.Skew = -time.Millisecond },
		"a skew over the widest": func(v *visit.Visit) { v.Skew = day.MaxSkew + 1 },
	} {
		if b, err := changed(f).Marshal(); err == nil || b != nil {
			t.Errorf("%s: encoded as %d bytes (%v)", name, len(b), err)
		}
	}
}

func TestMarshalCutsToMilliseconds(t *testing.T) {
	v := changed(func(v *visit.Visit) {
		v.At, v.Skew = v.At.Add(999_999).In(day.Seoul()), v.Skew+999_999
	})
	b, err := v.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := ordinary().Marshal(); !bytes.Equal(b, want) {
		t.Error("a fraction of a millisecond or the zone changes the record")
	}
}

func TestNothingPrintsACTI(t *testing.T) {
	v, cti := ordinary(), testCTI()
	b := cti[:6]
	leaks := []string{
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("% x", b), fmt.Sprintf("%#x", b), strings.Trim(fmt.Sprint(b), "[]"),
		strings.ReplaceAll(strings.Trim(fmt.Sprint(b), "[]"), " ", ","), strings.Trim(fmt.Sprintf("%o", b), "[]"), string(b), strings.Trim(fmt.Sprintf("%q", b), `"`),
	}
	shown := map[string]string{}
	for name, x := range map[string]any{
		"cti": cti, "cti pointer": &cti, "ctis": []visit.CTI{cti}, "cti as key": map[visit.CTI]int{cti: 1}, "visit": v, "visit pointer": &v,
		"visits": []visit.Visit{v}, "visit in a struct": struct{ V visit.Visit }{v}, "visit in a map": map[int]visit.Visit{1: v},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%e", "%t"} {
			shown[name+" with "+verb] = fmt.Sprintf(verb, x)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("seen", "value", x, slog.Group("in", "value", x))
		slog.New(slog.NewJSONHandler(&log, nil)).Info("seen", "value", x, slog.Group("in", "value", x))
		shown[name+" in a log"] = log.String()
		if b, err := json.Marshal(x); err == nil {
			shown[name+" in JSON"] = string(b)
		}
	}
	for how, s := range shown {
		for _, leak := range leaks {
			if strings.Contains(s, leak) {
				t.Errorf("%s shows cti bytes: %s", how, s)
			}
		}
	}
	if !strings.Contains(shown["visit with %v"], "redacted") || !strings.Contains(shown["visit in a log"], `"issuer":"naver"`) {
		t.Error("placeholder or issuer are not shown either")
	}
	if _, err := json.Marshal(v); err == nil {
		t.Error("a visit turns into JSON: what reads it back would have lost its cti")
	}
}

func TestOutcomesRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for i, o := range visit.Outcomes() {
		if int(o) != i || seen[o.String()] {
			t.Errorf("outcome %d is %d, %q", i, o, o)
		}
		seen[o.String()] = true
		if back, err := visit.ParseOutcome(o.String()); err != nil || back != o {
			t.Errorf("%q is read as %v (%v)", o, back, err)
		}
		if green := o == visit.Admitted || o == visit.AdmittedAgain; o.Green() != green {
			t.Errorf("%v green: %v", o, o.Green())
		}
	}
	for _, code := range []string{
		"admitted", "admitted-again", "code-used", "expired", "not-yet-valid", "unknown-issuer", "not-genuine", "not-a-code", "out-of-service",
	} {
		if !seen[code] {
			t.Errorf("no outcome %q", code)
		}
		delete(seen, code)
	}
	if len(seen) != 0 {
		t.Errorf("outcomes beyond the closed set: %v", seen)
	}
}

func TestZeroOutcomeIsOutOfService(t *testing.T) {
	var o visit.Outcome
	if o != visit.OutOfService || o.String() != "out-of-service" || o.Green() {
		t.Errorf("the zero outcome is %v", o)
	}
	for _, s := range []string{"", "Admitted", "admitted ", "outcome(9)"} {
		if o, err := visit.ParseOutcome(s); err == nil || o != visit.OutOfService {
			t.Errorf("%q is read as %v (%v)", s, o, err)
		}
	}
	if impossible := visit.Outcome(len(visit.Outcomes())); impossible.Green() || impossible.String() != "outcome(9)" {
		t.Errorf("an impossible outcome: %v, green %v", impossible, impossible.Green())
	}
	visit.Outcomes()[0] = visit.Admitted
	if visit.Outcomes()[0] != visit.OutOfService {
		t.Error("a caller can change the set of outcomes")
	}
}

func TestClockStates(t *testing.T) {
	for s, want := range map[visit.ClockState]string{0: "untrusted", 1: "holdover", 2: "synced", 3: "clock-state(3)"} {
		if s.String() != want {
			t.Errorf("clock state %d is %q, want %q", uint8(s), s, want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, c := range goodVisits() {
		b, err := c.visit.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, c := range badRecords() {
		f.Add(c.record)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := visit.Unmarshal(b)
		if err != nil {
			if !errors.Is(err, visit.ErrRecord) || v != (visit.Visit{}) {
				t.Fatalf("%v beside a visit", err)
			}
			return
		}
		again, err := v.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is encoded again as %x (%v)", b, again, err)
		}
		if d := day.Of(v.At); v.At.Before(d.Start()) || !v.At.Before((d + 1).Start()) {
			t.Fatalf("%v is not within its day %v", v.At, d)
		}
	})
}
