package serialscan

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/framing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSSIPackets holds our packets and check sum against those printed in the manuals.
func TestSSIPackets(t *testing.T) {
	c := zebraSSI().bytes
	for _, p := range []struct {
		what, printed string
		ours          []byte
	}{
		{"start", "04 E4 04 00 FF 14", c.Trigger},
		{"stop", "04 E5 04 00 FF 13", c.Stop},
		{"enable", "04 E9 04 00 FF 0F", c.Enable},
		{"disable", "04 EA 04 00 FF 0E", c.Disable},
		{"ACK", "04 D0 04 00 FF 28", ssiPacket(ssiACK)},
	} {
		if !bytes.Equal(p.ours, unhex(t, p.printed)) {
			t.Errorf("%s is % X, the manual prints %s", p.what, p.ours, p.printed)
		}
	}
	for _, printed := range []string{
		"07 C6 04 08 00 8A 04 FE 99",                // Nadamoo p. 35: continuous
		"07 C6 04 08 00 8A 09 FE 94",                // automatic
		"08 C6 04 08 00 F2 01 02 FE 31",             // USB-CDC
		"0A 80 04 00 00 06 20 00 00 FF FE 4D",       // DS457 p. 6-31: to the reader
		"0C 80 00 00 00 08 20 00 00 F0 00 F0 FD 6C", // from the reader
		"08 80 00 00 00 04 06 00 FF 6E",
	} {
		b := unhex(t, printed)
		if sum := ssiChecksum(b[:len(b)-2]); byte(sum>>8) != b[len(b)-2] || byte(sum) != b[len(b)-1] {
			t.Errorf("check sum of %s is %04X", printed, sum)
		}
	}
}

// TestGrowChecksums holds the check sum against the printed commands and answers, which are summed from the type on.
func TestGrowChecksums(t *testing.T) {
	for _, printed := range []string{
		"7E 00 09 01 00 00 00 DE C8", // save
		"7E 00 07 01 00 2A 02 D8 0F", // query of the baud rate
		"7E 00 08 01 00 D9 D3 20 38", // 9600 baud, Hamlet
		"7E 00 08 02 00 2A 39 01 A7 EA",
		"02 00 00 01 00 33 31",
		"02 00 00 02 39 01 C1 4C",
	} {
		b := unhex(t, printed)
		if sum := growChecksum(b[2 : len(b)-2]); byte(sum>>8) != b[len(b)-2] || byte(sum) != b[len(b)-1] {
			t.Errorf("check sum of %s is %04X", printed, sum)
		}
	}
	if got := growCommand(growRead, 0x2a, 2); !bytes.Equal(got, unhex(t, "7E 00 07 01 00 2A 02 D8 0F")) {
		t.Errorf("the query of the baud rate is % X", got)
	}
}

func TestAnswers(t *testing.T) {
	cases := []struct {
		rule string
		m    matcher
		in   string
		n    int
		want verdict
	}{
		{"grow: yes, with a code behind it", growReply, "\x02\x00\x00\x01\x00\x33\x31KIP1", 7, accepted},
		{"grow: a value", growReply, "\x02\x00\x00\x02\x39\x01\xc1\x4c", 8, accepted},
		{"grow: without check sum", growReply, "\x02\x00\x00\x01\x00\xab\xcd", 7, accepted},
		{"grow: a wrong check sum", growReply, "\x02\x00\x00\x01\x01\x33\x31", 7, damaged},
		{"grow: half of it", growReply, "\x02\x00\x00\x01\x00", 0, partial},
		{"grow: a code in STX", growReply, "\x02KIP1", 0, foreign},
		{"grow: no such length", growReply, "\x02\x00\x00\xff", 0, foreign},
		{"honeywell: echo and ACK", honeywellReply([]byte("\x16M\rPAPPST!")), "PAPPST\x06!KIP1", 8, accepted},
		{"honeywell: a value", honeywellReply([]byte("\x16M\rSCNLED?.")), "SCNLED1\x06", 8, accepted},
		{"honeywell: bare ACK", honeywellReply([]byte("\x16M\rPAPPST!")), "\x06KIP1", 1, accepted},
		{"honeywell: no such setting", honeywellReply([]byte("\x16M\rSCNLED1!")), "SCNLED1\x05!", 9, refused},
		{"honeywell: no such value", honeywellReply([]byte("\x16M\rSCNLED1!")), "SCNLED1\x15.", 9, refused},
		{"honeywell: half an echo", honeywellReply([]byte("\x16M\rSCNLED1!")), "SCNL", 0, partial},
		{"honeywell: a code that begins alike", honeywellReply([]byte("\x16M\rSCNLED1!")), "SCN7", 0, foreign},
		{"honeywell: a code that begins like an echo", honeywellReply([]byte("\x16M\rSCNLED1!")), "SCNLEDS\r", 0, foreign},
		{"newland: alive", newlandReply([]byte("?")), "!KIP1", 1, accepted},
		{"newland: setting taken", newlandReply([]byte("NLS0302010")), "\x06", 1, accepted},
		{"newland: setting refused", newlandReply([]byte("NLS0302010")), "\x15", 1, refused},
		{"newland: new form", newlandReply([]byte("~\x010000#SCNMOD2;\x03")), "\x02\x010000#SCNMOD2\x06;\x03KIP1", 17, accepted},
		{"newland: new form refused", newlandReply([]byte("~\x010000#SCNMOD9;\x03")), "\x02\x010000#SCNMOD9\x15;\x03", 17, refused},
		{"newland: new form, half", newlandReply([]byte("~\x010000#SCNMOD2;\x03")), "\x02\x0100", 0, partial},
		{"newland: a code", newlandReply([]byte("~\x010000#SCNMOD2;\x03")), "\x02KIP1", 0, foreign},
		{"given: yes", exactly([]byte("OK"), accepted), "OKKIP1", 2, accepted},
		{"given: half", exactly([]byte("OK"), accepted), "O", 0, partial},
		{"given: a code", exactly([]byte("OK"), accepted), "KIP1", 0, foreign},
	}
	for _, c := range cases {
		t.Run(c.rule, func(t *testing.T) {
			if n, v := c.m([]byte(c.in)); n != c.n || v != c.want {
				t.Errorf("matched %d bytes as %d, want %d as %d", n, v, c.n, c.want)
			}
		})
	}
	for _, sent := range []string{"\x16T\r", "\x16U\r", ""} {
		if honeywellReply([]byte(sent)) != nil {
			t.Errorf("an answer to %q is waited for, which never comes", sent)
		}
	}
}

// talk returns a dialogue with one command outstanding that m recognises the answers of.
func talk(m matcher, written *[]byte) *dialogue {
	d := &dialogue{
		write:   func(b []byte) error { *written = append(*written, b...); return nil },
		settled: func(purpose, verdict) {},
		reset:   func() {},
	}
	d.ask([]command{{purpose: doIdentify, bytes: []byte("?"), reply: m}})
	d.tick(time.Unix(0, 0))
	return d
}

func TestAnswersAreTakenOutOfTheStream(t *testing.T) {
	const yes = "\x02\x00\x00\x01\x00\x33\x31"
	for _, c := range []struct {
		rule, in string
		want     []string
	}{
		{"glued before a code", yes + "KIP1:A\rKIP1:B\r", []string{"KIP1:A", "KIP1:B"}},
		{"glued behind a code", "KIP1:A\r" + yes + "KIP1:B\r", []string{"KIP1:A", "KIP1:B"}},
		{"in the middle of a code", "KIP1" + yes + ":A\r", []string{"KIP1:A"}},
		{"a code in STX and ETX", "\x02KIP1:A\x03" + yes, []string{"KIP1:A"}},
		{"one more, which an earlier program asked for", yes + yes + "KIP1:A\rKIP1:B\r", []string{"KIP1:A", "KIP1:B"}},
		{"no answer at all", "KIP1:A\r", []string{"KIP1:A"}},
		{"the beginning of one only", "KIP1:A\r\x02\x00", []string{"KIP1:A"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				var got []string
				var written []byte
				d := talk(growReply, &written)
				s := newStream(framing.Rule{}, d, func(f framing.Frame) {
					if !f.Garbled {
						got = append(got, string(f.Data))
					}
				})
				at := time.Unix(0, 0)
				for from := 0; from < len(c.in); from += size {
					s.push(at, []byte(c.in[from:min(len(c.in), from+size)]))
				}
				s.idle(at.Add(time.Second))
				s.idle(at.Add(2 * time.Second))
				if strings.Join(got, "|") != strings.Join(c.want, "|") {
					t.Fatalf("in pieces of %d: %q, want %q", size, got, c.want)
				}
			}
		})
	}
}

// FuzzStream holds that answers mixed into a stream never make a frame too long or empty, and that a code after whatever
// came is whole once that was ended.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x01\x00\x33\x31KIP1:A\r"), uint8(1))
	f.Add([]byte("PAPPST\x06!KIP1:A\r\x02\x00\x00\x10"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		for _, m := range []matcher{growReply, honeywellReply([]byte("\x16M\rPAPPST!")), newlandReply([]byte("~\x010000;\x03"))} {
			var written []byte
			var last string
			d := talk(m, &written)
			s := newStream(framing.Rule{}, d, func(fr framing.Frame) { last = string(fr.Data) })
			at := time.Unix(0, 0)
			for p := in; len(p) > 0; {
				n := min(len(p), int(size)+1)
				s.push(at, p[:n])
				p = p[n:]
			}
			s.idle(at.Add(time.Second))
			s.idle(at.Add(2 * time.Second))
			s.push(at.Add(10*time.Second), []byte("\rKIP1:GOOD\r"))
			if last != "KIP1:GOOD" {
				t.Fatalf("the code after it arrived as %q", last)
			}
		}
	})
}

// FuzzSSI holds that no bytes make the decoder panic or hand on a frame too long, and that a good packet after them is
// decoded once the line was silent.
func FuzzSSI(f *testing.F) {
	good := ssiDecodePacket(0, "KIP1:GOOD")
	f.Add(good, uint8(0))
	f.Add(good[:7], uint8(2))
	f.Add(ssiDecodePacket(ssiGoesOn, strings.Repeat("x", 240)), uint8(9))
	f.Add([]byte("KIP1:PLAIN\r"), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		var written []byte
		var frames []framing.Frame
		d := talk(func([]byte) (int, verdict) { return 0, foreign }, &written)
		s := newSSI(framing.Rule{}, d, func(fr framing.Frame) { frames = append(frames, fr) })
		at := time.Unix(0, 0)
		for p := in; len(p) > 0; {
			n := min(len(p), int(size)+1)
			s.push(at, p[:n])
			p = p[n:]
		}
		for i := range 4 {
			s.idle(at.Add(time.Duration(i+1) * 4 * time.Second))
		}
		at = at.Add(time.Minute)
		s.push(at, good)
		if len(frames) == 0 || string(frames[len(frames)-1].Data) != "KIP1:GOOD" {
			t.Fatal("the packet after it was not decoded")
		}
		for _, fr := range frames {
			if len(fr.Data) > 1024 {
				t.Fatalf("a frame of %d bytes", len(fr.Data))
			}
		}
	})
}

// ssiDecodePacket returns a DECODE_DATA packet from a reader.
func ssiDecodePacket(status byte, data string) []byte {
	b := append([]byte{byte(ssiHeader + 1 + len(data)), ssiDecode, 0, status, 0x1c}, data...)
	sum := ssiChecksum(b)
	return append(b, byte(sum>>8), byte(sum))
}

// TestSSIGivesUp holds that a code which arrived damaged, and is not sent again, has its answer within 2 s all the same.
func TestSSIGivesUp(t *testing.T) {
	bad := ssiDecodePacket(0, "KIP1:BAD")
	bad[len(bad)-1]++
	for _, c := range []struct {
		rule, in string
		want     int
	}{
		{"a wrong check sum", string(bad), 1},
		{"a packet that lost its end", string(ssiDecodePacket(0, "KIP1:A")[:9]), 1},
		{"a packet that lost its beginning", string(ssiDecodePacket(0, "KIP1:A")[1:]), 1},
		{"a code of which the rest does not come", string(ssiDecodePacket(ssiGoesOn, "KIP1:A")), 1},
		{"a damaged acknowledgement", "\x04\xd0\x00\x00\xff\x2d", 0},
	} {
		var frames []framing.Frame
		var written []byte
		d := talk(nil, &written)
		s := newSSI(framing.Rule{Code: framing.Code{Begins: "KIP1:", Is: func([]byte) bool { return true }}}, d, func(f framing.Frame) {
			if f.Data != nil {
				frames = append(frames, f)
			}
		})
		at := time.Unix(0, 0)
		s.push(at, []byte(c.in))
		for i := range 20 {
			if s.idle(at.Add(time.Duration(i+1) * 100 * time.Millisecond)); i < 9 && len(frames) > 0 {
				t.Errorf("%s: given up after %d ms, while it may be sent again", c.rule, 100*(i+1))
			}
		}
		if len(frames) != c.want || c.want == 1 && (!frames[0].Torn || frames[0].Whole) {
			t.Errorf("%s: %+v, want %d torn", c.rule, frames, c.want)
		}
	}
}

func TestSSIDecoder(t *testing.T) {
	long := strings.Repeat("0123456789", 60)
	ack, nak := string(ssiPacket(ssiACK)), string(ssiPacket(ssiNAK, ssiResend))
	bad := ssiDecodePacket(0, "KIP1:BAD")
	bad[len(bad)-1]++
	p := func(status byte, data string) string { return string(ssiDecodePacket(status, data)) }
	for _, c := range []struct {
		rule, in string
		want     []string
		written  string
	}{
		{"a packet is acknowledged", p(0, "KIP1:A"), []string{"KIP1:A"}, ack},
		{"line ends within are stripped", p(0, "]Q1KIP1:A\r\n"), []string{"KIP1:A"}, ack},
		{"packets glued together", p(0, "A1") + p(0, "B2"), []string{"A1", "B2"}, ack + ack},
		{"a long code in three packets", p(2, long[:250]) + p(2, long[250:500]) + p(0, long[500:]), []string{long}, ack + ack + ack},
		{"a packet sent again after a lost ACK is one code", p(0, "A1") + p(1, "A1"), []string{"A1"}, ack + ack},
		{"the same code shown twice is two", p(0, "A1") + p(0, "A1"), []string{"A1", "A1"}, ack + ack},
		{"a part sent again is one part", p(2, "A1") + p(3, "A1") + p(0, "B2"), []string{"A1B2"}, ack + ack + ack},
		{"a wrong check sum is refused", string(bad), nil, nak},
		{"a good packet behind a bad one is found", string(bad) + p(1, "KIP1:BAD"), []string{"KIP1:BAD"}, ack},
		{"a packet that lost a byte does not spoil the next", p(0, "A1")[:5] + p(0, "A1")[6:] + p(1, "A1"), []string{"A1"}, ack},
		{"a plain code is taken too", "KIP1:A\r", []string{"KIP1:A"}, ""},
		{"a packet that lost its end is refused", p(0, "KIP1:A")[:9], nil, nak},
		{"a packet that lost its beginning is refused", p(0, "KIP1:A")[1:], nil, nak},
	} {
		t.Run(c.rule, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				var got []string
				var written []byte
				d := talk(nil, &written)
				written = nil
				s := newSSI(framing.Rule{}, d, func(f framing.Frame) {
					if f.Data != nil {
						got = append(got, string(f.Data))
					}
				})
				at := time.Unix(0, 0)
				for from := 0; from < len(c.in); from += size {
					s.push(at, []byte(c.in[from:min(len(c.in), from+size)]))
				}
				s.idle(at.Add(time.Second))
				if strings.Join(got, "|") != strings.Join(c.want, "|") || string(written) != c.written {
					t.Fatalf("in pieces of %d: %q, wrote % X; want %q, % X", size, got, written, c.want, c.written)
				}
			}
		})
	}
}
