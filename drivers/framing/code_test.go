package framing_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
)

var began = time.Unix(1000, 0)

// present pushes what was sent in pieces of a size, lets a long silence follow, and returns the frames.
func present(r framing.Rule, sent []byte, size int) (frames []framing.Frame) {
	take := func(f framing.Frame) { frames = append(frames, f) }
	f := framing.New(r)
	for len(sent) > 0 {
		n := min(size, len(sent))
		f.Push(began, sent[:n], take)
		sent = sent[n:]
	}
	f.Idle(began.Add(time.Hour), take)
	return frames
}

// TestEveryDecoration runs the table for every terminator, however the bytes were chunked: what ends it is among what is
// sent, or the silence.
func TestEveryDecoration(t *testing.T) {
	code := drivertest.Code(1, 230)
	for _, d := range drivertest.Decorations {
		for _, term := range framing.Terminators {
			for _, size := range []int{1, 7, 1 << 20} {
				var got []framing.Frame
				for _, f := range present(framing.Rule{Terminator: term, Code: drivertest.Codes}, []byte(d.Wire(code)), size) {
					if f.Data != nil {
						got = append(got, f)
					}
				}
				want := min(int(d.Want), 1)
				if len(got) != want || want == 1 && got[0].Whole != (d.Want == drivertest.OneCode) {
					t.Errorf("%s, ended by %s, in pieces of %d: %d frames, %+v", d.Rule, term, size, len(got), got)
				} else if d.Want == drivertest.OneCode && string(got[0].Data) != code {
					t.Errorf("%s, ended by %s: %.60q came", d.Rule, term, got[0].Data)
				}
			}
		}
	}
}

func TestPresentations(t *testing.T) {
	a, b := drivertest.Code(1, 230), drivertest.Code(2, 240)
	for _, c := range []struct {
		rule, sent string
		want       []string
	}{
		{"two codes in one go are two", a + b, []string{a, b}},
		{"and in one burst", a + "\r" + b + "\r", []string{a, b}},
		{"a code behind something foreign", "first\rsecond\r" + a + "\r", []string{"first", a}},
		{"something foreign behind a code", a + "\rfirst\rsecond\r", []string{a, "first"}},
		{"something foreign on each side of one", "first\r" + a + "\rsecond\r", []string{"first", a, "second"}},
		{"a code in which codes begin by chance", "KIP1:KIP1:" + a, []string{a}},
	} {
		var got []string
		for _, f := range present(framing.Rule{Code: drivertest.Codes}, []byte(c.sent), 1<<20) {
			got = append(got, string(f.Data))
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: got %.40q, want %.40q", c.rule, got, c.want)
		}
	}
	t.Run("a silence parts them", func(t *testing.T) {
		var got []string
		take := func(f framing.Frame) { got = append(got, string(f.Data)) }
		f := framing.New(framing.Rule{Code: drivertest.Codes})
		f.Push(began, []byte("first\rmore\r"), take)
		f.Idle(began.Add(f.Silence()-1), take)
		f.Push(began, []byte("still\r\x11\x13"), take)
		f.Idle(began.Add(f.Silence()), take)
		f.Push(began.Add(time.Minute), []byte("second\r"), take)
		if strings.Join(got, "|") != "first|second" {
			t.Errorf("got %q", got)
		}
	})
}

// TestNoiseIsToldOncePerPresentation holds that one foreign code with much in it is not taken for many.
func TestNoiseIsToldOncePerPresentation(t *testing.T) {
	told := 0
	for _, f := range present(framing.Rule{Code: drivertest.Codes}, bytes.Repeat([]byte("\xf8\x06?\r"), 20), 1<<20) {
		if f.Garbled {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// FuzzDecorations holds, for whatever is sent: a presentation is one frame at most beside its codes; what is called whole is
// a code; what has data has something in it; and no edges around a code, in any number, spoil it.
func FuzzDecorations(f *testing.F) {
	for _, d := range drivertest.Decorations {
		f.Add([]byte(d.Wire(drivertest.Code(1, 230))), uint8(0))
	}
	for _, flaw := range drivertest.Flaws {
		f.Add([]byte(flaw.Spoil(drivertest.Code(1, 230))), uint8(5))
	}
	code := drivertest.Code(3, 230)
	f.Fuzz(func(t *testing.T, sent []byte, term uint8) {
		rule := framing.Rule{Terminator: framing.Terminators[int(term)%len(framing.Terminators)], Code: drivertest.Codes}
		foreign := 0
		for _, fr := range present(rule, sent, 1<<20) {
			switch {
			case fr.Whole:
				foreign = 0
				if !drivertest.Codes.Is(fr.Data) {
					t.Fatalf("%q is called whole", fr.Data)
				}
			case fr.Data != nil:
				if foreign++; foreign > 1 || len(fr.Data) > drivers.MaxFrame || len(bytes.TrimLeft(fr.Data, "\x00 \t\r\n")) == 0 {
					t.Fatalf("frame %d of one presentation is %q", foreign, fr.Data)
				}
			}
		}
		edges := bytes.Clone(sent)
		for i, c := range edges {
			const all = "\x00\x02\x04\x0c\x11\x13\x1d \x7f\xfe\xff"
			edges[i] = all[int(c)%len(all)]
		}
		if edges = edges[:min(len(edges), 8)]; term%2 == 0 {
			edges = append(edges, "\ufeff"...)
		}
		got := present(rule, bytes.Join([][]byte{edges, []byte(code), edges}, nil), 1<<20)
		if len(got) != 1 || string(got[0].Data) != code || !got[0].Whole {
			t.Fatalf("between %q: %+v", edges, got)
		}
	})
}
