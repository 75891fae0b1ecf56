package serialscan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
)

// Zebra's Simple Serial Interface with packeted data and ACK/NAK. Sources: DS457 integration guide p. 6-11 (trigger mode,
// parameter 8A: 0 level, 7 presentation, 8 host) and p. 8-2 (opcodes); SE-923 integration guide p. 6-4 (packets, status
// bit 0 retransmit, bit 3 permanent) and p. 6-15 (DECODE_DATA); SE955 integration guide p. 10-9 (kinds of NAK, two
// resends). That codes longer than a packet go on in the next one, marked by status bit 1 and each with its code type,
// and that a beep code of FF means none, is from open drivers and memory. How it was checked: check sums recomputed, the
// dialogue against a simulator written from these pages; not against a device.
//
// A packet is its length without check sum, opcode, source (0 reader, 4 host), status, data, and the two's complement of
// the sum of all these, high byte first.
const (
	ssiRevision = 0xa3
	ssiReply    = 0xa4 // REPLY_REVISION
	ssiParam    = 0xc6
	ssiACK      = 0xd0
	ssiNAK      = 0xd1
	ssiStart    = 0xe4
	ssiStop     = 0xe5
	ssiEnable   = 0xe9
	ssiDisable  = 0xea
	ssiDecode   = 0xf3
	ssiEvent    = 0xf6

	ssiResend  = 1 // kind of NAK: check sum wrong, send again
	ssiBooted  = 3 // event: the reader has started
	ssiRetried = 1 << 0
	ssiGoesOn  = 1 << 1

	ssiGivenUp = 1500 * time.Millisecond // of silence after which nothing is sent again: two resends, and an answer within 2 s

	ssiHeader = 4
	ssiSum    = 2
)

// ssiFromReader are the opcodes a reader sends.
var ssiFromReader = []byte{ssiReply, 0xa6, ssiParam, ssiACK, ssiNAK, 0xd4, ssiDecode, ssiEvent, 0x80}

// ssiPacket returns a packet from the host. Its status makes parameters volatile.
func ssiPacket(op byte, data ...byte) []byte {
	b := append([]byte{byte(ssiHeader + len(data)), op, 4, 0}, data...)
	return binary.BigEndian.AppendUint16(b, ssiChecksum(b))
}

func ssiChecksum(b []byte) (sum uint16) {
	for _, c := range b {
		sum -= uint16(c)
	}
	return sum
}

func zebraSSI() family {
	const noBeep, packeted, handshake, trigger = 0xff, 0xee, 0x9f, 0x8a
	return family{
		bytes: Commands{
			Setup:    ssiPacket(ssiParam, noBeep, packeted, 1, handshake, 1),
			Identify: ssiPacket(ssiRevision),
			Present:  ssiPacket(ssiParam, noBeep, trigger, 7),
			Manual:   ssiPacket(ssiParam, noBeep, trigger, 8),
			Enable:   ssiPacket(ssiEnable),
			Disable:  ssiPacket(ssiDisable),
			Trigger:  ssiPacket(ssiStart),
			Stop:     ssiPacket(ssiStop),
		},
		reply:      func([]byte) matcher { return func([]byte) (int, verdict) { return 0, foreign } },
		newDecoder: newSSI,
	}
}

// ssi decodes packets. Bytes that cannot be a packet are cut into frames as a plain stream: a reader that was reset to
// its factory settings sends codes that way.
type ssi struct {
	plain    *framing.Framer // of what comes without packets, and of what was unpacked
	dialogue *dialogue
	frame    func(framing.Frame)

	gap    time.Duration // the silence after which a packet in the making has lost a byte
	buf    []byte        // a packet in the making
	at     time.Time
	parts  []byte // what earlier packets of this code held
	broken bool   // something arrived damaged and was not asked for again yet
	wreck  []byte // what arrived damaged and was not sent again yet
	last   []byte // the data of the packet accepted last, to know it when its ACK got lost
	lastAt time.Time
}

func newSSI(rule framing.Rule, d *dialogue, frame func(framing.Frame)) decoder {
	return &ssi{plain: framing.New(rule), dialogue: d, frame: frame, gap: cmp.Or(rule.Gap, framing.DefaultGap)}
}

func (s *ssi) push(at time.Time, p []byte) {
	if slices.ContainsFunc(p, func(c byte) bool { return !framing.Filler(c) }) {
		s.at = at
	}
	s.buf = append(s.buf, p...)
	s.parse()
	s.buf = bytes.Clone(s.buf)
}

// parse takes every packet that is complete from the beginning of buf.
func (s *ssi) parse() {
	for len(s.buf) > 0 {
		if !ssiPlausible(s.buf) {
			if s.broken {
				s.breaks(s.buf[:1])
			} else {
				s.plain.Push(s.at, s.buf[:1], s.unpacked)
			}
			s.buf = s.buf[1:]
			continue
		}
		end := int(s.buf[0]) + ssiSum
		if len(s.buf) < end {
			return
		}
		body, sum := s.buf[:end-ssiSum], s.buf[end-ssiSum:end]
		if binary.BigEndian.Uint16(sum) != ssiChecksum(body) {
			// A byte may be missing, so that the next packet begins within this one.
			s.breaks(s.buf[:1])
			s.buf = s.buf[1:]
			continue
		}
		s.plain.End(s.unpacked)
		s.broken, s.wreck = false, nil
		s.buf = s.buf[end:]
		s.take(s.at, body)
	}
}

// ssiPlausible tells whether b may be the beginning of a packet from a reader.
func ssiPlausible(b []byte) bool {
	return b[0] >= ssiHeader && (len(b) < 2 || slices.Contains(ssiFromReader, b[1])) && (len(b) < 3 || b[2] == 0)
}

// idle asks for what arrived damaged, once, when the reader has fallen silent to wait for our answer.
func (s *ssi) idle(now time.Time) {
	silence := now.Sub(s.at)
	if silence < s.gap {
		return
	}
	for len(s.buf) >= ssiHeader-1 { // a packet that lost a byte, and perhaps a good one behind it
		s.breaks(s.buf[:1])
		s.buf = s.buf[1:]
		s.parse()
	}
	if !s.broken {
		s.plain.Push(s.at, s.buf, s.unpacked)
	}
	s.buf = nil
	s.plain.Idle(now, s.unpacked)
	if s.broken {
		s.broken = false
		s.plain.Drop()
		_ = s.dialogue.write(ssiPacket(ssiNAK, ssiResend))
		s.frame(framing.Frame{At: s.at, Garbled: true})
	}
	if silence >= ssiGivenUp {
		s.giveUp()
	}
}

// giveUp delivers what was shown and will not come whole any more, so that the visitor has an answer.
func (s *ssi) giveUp() {
	if rest := append(s.parts, s.wreck...); len(s.parts) > 0 || bytes.IndexByte(s.wreck, ssiDecode) >= 0 {
		s.plain.Torn(s.at, rest, s.frame)
	}
	s.parts, s.wreck = nil, nil
}

// breaks notes bytes that arrived damaged. What comes again now is that, and not the packet before it.
func (s *ssi) breaks(b []byte) {
	s.broken, s.last = true, nil
	if len(s.wreck) < drivers.MaxFrame {
		s.wreck = append(s.wreck, b...)
	}
}

// unpacked takes a frame that came without a packet around it: from a reader that has lost its settings, or what is left
// of a packet.
func (s *ssi) unpacked(f framing.Frame) {
	if f.Garbled {
		s.breaks(f.Data)
		return
	}
	s.frame(f)
	s.dialogue.reset()
}

func (s *ssi) take(at time.Time, body []byte) {
	data := body[ssiHeader:]
	switch body[1] {
	case ssiACK:
		s.dialogue.answer(at, accepted, nil)
		return
	case ssiNAK:
		if len(data) > 0 && data[0] == ssiResend {
			s.dialogue.answer(at, damaged, nil)
		} else {
			s.dialogue.answer(at, refused, nil)
		}
		return
	case ssiReply:
		s.dialogue.answer(at, accepted, data)
	case ssiEvent:
		if len(data) > 0 && data[0] == ssiBooted {
			s.dialogue.reset()
		}
	case ssiDecode:
		s.decoded(at, body[3], data)
	}
	// What the write does not take, the reader sends again.
	_ = s.dialogue.write(ssiPacket(ssiACK))
}

// decoded takes the data of one DECODE_DATA packet: the code's type and its next bytes.
func (s *ssi) decoded(at time.Time, status byte, data []byte) {
	if status&ssiRetried != 0 && bytes.Equal(data, s.last) && at.Sub(s.lastAt) < answerLate {
		return
	}
	s.last, s.lastAt = bytes.Clone(data), at
	if len(data) > 0 {
		s.parts = append(s.parts, data[1:]...)
		s.parts = s.parts[:min(len(s.parts), 2*drivers.MaxFrame)] // more is too long anyway
	}
	if status&ssiGoesOn != 0 {
		return
	}
	whole := s.parts
	s.parts = nil
	s.plain.Whole(at, whole, s.frame)
}
