package framing

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
)

var start = time.Unix(1000, 0)

// cut pushes p in pieces of the size given and lets a long silence follow.
func cut(r Rule, p []byte, size int) (got []string, dropped int) {
	f := New(r)
	take := func(fr Frame) {
		if fr.Data == nil {
			dropped++
			return
		}
		got = append(got, string(fr.Data))
	}
	at := start
	for len(p) > 0 {
		n := min(size, len(p))
		at = at.Add(time.Millisecond)
		f.Push(at, p[:n], take)
		p = p[n:]
	}
	f.Idle(at.Add(time.Hour), take)
	return got, dropped
}

func TestFrames(t *testing.T) {
	longest := strings.Repeat("x", drivers.MaxFrame)
	cases := []struct {
		rule    string
		how     Rule
		in      string
		want    []string
		dropped int
	}{
		{"each automatic terminator ends a frame", Rule{}, "a\rb\nc\r\nd\te\x03f", []string{"a", "b", "c", "d", "e", "f"}, 0},
		{"nothing between two terminators is no frame", Rule{}, "\r\n\r\n\t\x03", nil, 0},
		{"cr alone ends a frame", Rule{Terminator: CR}, "a\tb\rc\r", []string{"a\tb", "c"}, 0},
		{"lf alone ends a frame, a cr before it is stripped", Rule{Terminator: LF}, "a\r\nb\n", []string{"a", "b"}, 0},
		{"only cr lf together end a frame", Rule{Terminator: CRLF}, "a\nb\rc\r\nd\r\n", []string{"a\nb\rc", "d"}, 0},
		{"tab alone ends a frame", Rule{Terminator: Tab}, "a\rb\tc\t", []string{"a\rb", "c"}, 0},
		{"etx alone ends a frame", Rule{Terminator: ETX}, "a\rb\x03c\x03", []string{"a\rb", "c"}, 0},
		{"silence alone ends a frame", Rule{Terminator: None}, "a\rb\nc", []string{"a\rb\nc"}, 0},
		{"a named terminator that never comes is replaced by silence", Rule{Terminator: CR}, "abc", []string{"abc"}, 0},
		{"STX, ETX and EOT are stripped", Rule{}, "\x02a\x03\x04\x02b\x03\x04", []string{"a", "b"}, 0},
		{"an AIM identifier is stripped", Rule{}, "]Q1a\r]Q6b\r]C0c\r", []string{"a", "b", "c"}, 0},
		{"what only resembles one is not", Rule{}, "]QQa\r]1\r]\r]Q\rx]Q1\r", []string{"]QQa", "]1", "]", "]Q", "x]Q1"}, 0},
		{"prefix and suffix are stripped", Rule{Prefix: "s", Suffix: "!!"}, "sa!!\rb\r", []string{"a", "b"}, 0},
		{"a prefix stands before or behind the AIM identifier", Rule{Prefix: "#"}, "#]Q1a\r]Q1#b\r##c\r", []string{"a", "b", "#c"}, 0},
		{"the longest frame passes", Rule{Prefix: "pp"}, "\x02pp]Q1" + longest + "\r\n", []string{longest}, 0},
		{"of a longer one its beginning does", Rule{}, longest + "x\rb\r", []string{longest, "b"}, 0},
		{"of one that is much longer too, once", Rule{}, strings.Repeat(longest, 5) + "\rb\r", []string{longest, "b"}, 0},
		{"an overlong frame ends by cr lf too", Rule{Terminator: CRLF}, strings.Repeat(longest, 2) + "\rz\r\nb\r\n", []string{longest, "b"}, 0},
		{"an overlong frame ends by silence", Rule{Terminator: None}, strings.Repeat(longest, 2), []string{longest}, 0},
		{"cr and lf with padding between are cr lf", Rule{Terminator: CRLF}, "a\r\x00\x00\nb\r\n", []string{"a", "b"}, 0},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 64, 1 << 20} {
				got, dropped := cut(c.how, []byte(c.in), size)
				if strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) || dropped != c.dropped {
					t.Fatalf("in pieces of %d: got %.80q and %d dropped, want %.80q and %d", size, got, dropped, c.want, c.dropped)
				}
			}
		})
	}
}

func TestSilence(t *testing.T) {
	var got []Frame
	take := func(f Frame) { got = append(got, f) }
	f := New(Rule{Gap: 50 * time.Millisecond})
	f.Push(start, []byte("ab"), take)
	f.Idle(start.Add(49*time.Millisecond), take)
	if len(got) != 0 {
		t.Fatal("a frame ended before its silence was over")
	}
	f.Push(start.Add(time.Hour), []byte("c"), take) // late, but no wait ended in vain: the same frame
	f.Idle(start.Add(time.Hour+50*time.Millisecond), take)
	if len(got) != 1 || string(got[0].Data) != "abc" || !got[0].At.Equal(start.Add(time.Hour)) {
		t.Fatalf("got %+v, want abc at the arrival of its last byte", got)
	}
	f.Idle(start.Add(2*time.Hour), take)
	if len(got) != 1 {
		t.Fatal("silence without bytes made a frame")
	}
	got = nil
	f.Push(start, []byte("torn"), take)
	f.Drop()
	f.Push(start, []byte("whole\r"), take)
	if len(got) != 1 || string(got[0].Data) != "whole" {
		t.Fatalf("got %+v after a drop, want whole alone", got)
	}
}

func TestLostTerminatorDoesNotSpoilTheNextFrame(t *testing.T) {
	var got []Frame
	take := func(f Frame) { got = append(got, f) }
	f := New(Rule{Terminator: CR})
	f.Push(start, []byte("first"), take)
	f.Idle(start.Add(overdue-1), take)
	if len(got) != 0 {
		t.Fatalf("got %+v before the terminator was overdue", got)
	}
	f.Idle(start.Add(overdue), take)
	f.Push(start.Add(overdue+time.Second), []byte("second\r"), take)
	if len(got) != 2 || string(got[0].Data) != "first" || !got[0].At.Equal(start) || string(got[1].Data) != "second" {
		t.Fatalf("got %+v, want first and second", got)
	}
	if !strings.Contains(got[0].Flaw, `terminator = "cr"`) || got[1].Flaw != "" {
		t.Errorf("said %q and %q, want that the terminator of the first did not come", got[0].Flaw, got[1].Flaw)
	}
}

func TestBytesLostTearOneFrame(t *testing.T) {
	var got []Frame
	take := func(f Frame) { got = append(got, f) }
	f := New(Rule{Gap: 50 * time.Millisecond})
	f.Push(start, []byte("ab"), take)
	f.Spoil(start.Add(time.Second))
	f.Push(start.Add(time.Second), []byte("cd\ref\r"), take)
	if len(got) != 2 || string(got[0].Data) != "ab\x1acd" || !got[0].Torn || got[0].Garbled || got[0].Whole || string(got[1].Data) != "ef" {
		t.Fatalf("got %+v, want one torn and then ef", got)
	}
	got = nil
	f.Spoil(start.Add(2 * time.Second))
	f.Idle(start.Add(2*time.Second+50*time.Millisecond), take)
	f.Push(start.Add(3*time.Second), []byte("gh\r"), take)
	if len(got) != 1 || string(got[0].Data) != "gh" {
		t.Fatalf("got %+v, want nothing of a frame of which nothing came", got)
	}
}

func TestEndIsATerminator(t *testing.T) {
	for _, term := range Terminators {
		var got []Frame
		take := func(f Frame) { got = append(got, f) }
		f := New(Rule{Terminator: term})
		f.End(take)
		f.Push(start, []byte("ab"), take)
		f.End(take)
		f.End(take)
		if len(got) != 1 || string(got[0].Data) != "ab" || !got[0].At.Equal(start) {
			t.Errorf("%s: got %+v, want ab once", term, got)
		}
	}
}

func TestSilenceThatIsDue(t *testing.T) {
	take := func(Frame) {}
	for term, want := range map[Terminator]time.Duration{Auto: time.Millisecond, None: time.Millisecond, CR: overdue, CRLF: overdue} {
		f := New(Rule{Terminator: term, Gap: time.Millisecond})
		if f.Silence() != 0 {
			t.Errorf("%s: %s is due before any byte", term, f.Silence())
		}
		f.Push(start, []byte("a"), take)
		if f.Silence() != want {
			t.Errorf("%s: %s is due, want %s", term, f.Silence(), want)
		}
		f.Idle(start.Add(want), take)
		if f.Silence() != 0 {
			t.Errorf("%s: %s is due after the silence", term, f.Silence())
		}
	}
}

func TestGarbled(t *testing.T) {
	for in, want := range map[string]bool{
		"KIP1:ABC $%*+-./:": false, "010880\x1d10AB\x1e\x1c\x1f": false, "출입명부": false, "a\tb\r\nc": false,
		"\xc3\xe2\xc0\xd4\xb8\xed\xba\xce in EUC-KR": false, "\xc3\xe2\xc0": true,
		"\x00": true, "a\x07b": true, "\x7f": true, "\xf8\xfe\xe6": true, "abc\xff": true,
	} {
		if got := Garbled([]byte(in)); got != want {
			t.Errorf("Garbled(%q) = %v", in, got)
		}
	}
}

func TestParseTerminator(t *testing.T) {
	for in, want := range map[string]Terminator{"": Auto, "auto": Auto, "CR": CR, "crlf": CRLF, "None": None} {
		if got, err := ParseTerminator(in); err != nil || got != want {
			t.Errorf("ParseTerminator(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := ParseTerminator("return"); err == nil || !strings.Contains(err.Error(), "crlf") {
		t.Errorf("an unknown name gave %v, want an error that lists the known ones", err)
	}
}

// FuzzFramer holds that no frame is empty or too long, that how the bytes were chunked does not matter, and that a good
// frame follows whatever came before once it was ended.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("]Q1abc\r\n\x02x\x03"), uint8(0), uint8(3))
	f.Add(bytes.Repeat([]byte{0xff, 0x0d}, 700), uint8(1), uint8(1))
	f.Add(bytes.Repeat([]byte("y"), 3000), uint8(3), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, term, size uint8) {
		r := Rule{Terminator: Terminators[int(term)%len(Terminators)], Prefix: "p"}
		whole, d1 := cut(r, in, 1<<20)
		split, d2 := cut(r, in, int(size)+1)
		if strings.Join(whole, "\x00") != strings.Join(split, "\x00") || d1 != d2 {
			t.Fatalf("chunks of %d changed the frames: %q, %q", size, whole, split)
		}
		for _, g := range whole {
			if len(g) == 0 || len(g) > drivers.MaxFrame {
				t.Fatalf("a frame of %d bytes", len(g))
			}
		}
		if r.Terminator == None {
			return
		}
		end := map[Terminator]string{Auto: "\r", CR: "\r", LF: "\n", CRLF: "\r\n", Tab: "\t", ETX: "\x03"}[r.Terminator]
		after, _ := cut(r, append(bytes.Clone(in), end+"good"+end...), 1<<20)
		if len(after) == 0 || after[len(after)-1] != "good" {
			t.Fatalf("the frame after it did not come: %q", after)
		}
	})
}

func TestAFloodTakesNoMemory(t *testing.T) {
	f := New(Rule{})
	for range 1 << 10 {
		f.Push(start, bytes.Repeat([]byte("x"), 1<<10), func(Frame) { t.Fatal("a frame came out of it") })
	}
	if n := cap(f.buf); n > 4*drivers.MaxFrame {
		t.Errorf("%d bytes are kept of a frame without end", n)
	}
}
