package drivertest

import (
	"bytes"
	"strings"
)

// plainBrain is a reader without commands, or with those of one letter.
type plainBrain struct {
	newland, datalogic bool
	disabled           bool
}

func (b *plainBrain) reset()                         { b.disabled = false }
func (b *plainBrain) reads() bool                    { return !b.disabled }
func (b *plainBrain) light() bool                    { return false }
func (b *plainBrain) show(s *Simulator, code string) { s.send([]byte(code + "\r\n")) }

func (b *plainBrain) hear(s *Simulator, p []byte) int {
	switch {
	case b.datalogic && (p[0] == 'D' || p[0] == 'E'):
		b.disabled = p[0] == 'D'
	case b.newland && p[0] == '?':
		s.answer([]byte("!"))
	default:
		return 1
	}
	s.state.Commands++
	return 1
}

// honeywellBrain comes from the factory in manual trigger mode, its light on.
type honeywellBrain struct {
	present, triggered, dark bool
}

func (b *honeywellBrain) reset()      { *b = honeywellBrain{} }
func (b *honeywellBrain) reads() bool { return b.present || b.triggered }
func (b *honeywellBrain) light() bool { return !b.dark }

func (b *honeywellBrain) show(s *Simulator, code string) {
	b.triggered = false
	s.send([]byte(code + "\r"))
}

func (b *honeywellBrain) hear(s *Simulator, p []byte) int {
	const longest = 64
	if p[0] != 0x16 {
		return 1
	}
	if len(p) < 3 {
		return 0
	}
	switch string(p[1:3]) {
	case "T\r":
		b.triggered = !b.present
	case "U\r":
		b.triggered = false
	case "M\r":
		end := bytes.IndexAny(p[3:], "!.")
		if end < 0 && len(p) < longest {
			return 0
		}
		if end < 0 {
			return 1
		}
		s.state.Commands++
		text, mark := strings.ToUpper(string(p[3:3+end])), p[3+end]
		value, status := b.menu(text)
		if mark == '.' && !strings.HasSuffix(text, "?") && status == 0x06 {
			s.state.Flashed++
		}
		s.answer(append([]byte(strings.TrimSuffix(text, "?")+value), status, mark))
		return 3 + end + 1
	default:
		return 1
	}
	s.state.Commands++
	return 3
}

func (b *honeywellBrain) menu(text string) (value string, status byte) {
	switch text {
	case "PAPPST":
		b.present, b.triggered = true, false
	case "PAPHHF":
		b.present = false
	case "SCNLED0", "SCNLED1":
		b.dark = text == "SCNLED0"
	case "SCNLED?":
		if value = "1"; b.dark {
			value = "0"
		}
	default:
		return "", 0x05
	}
	return value, 0x06
}

// growBrain comes from the factory in manual mode: it reads when its button is pressed, which nobody does here.
type growBrain struct {
	zone      byte // zone 0000
	triggered bool
}

func (b *growBrain) reset()      { *b = growBrain{zone: 0xd4} }
func (b *growBrain) reads() bool { return b.zone&3 == 3 || b.zone&3 == 1 && b.triggered }
func (b *growBrain) light() bool { return b.zone>>2&3 != 0 }

func (b *growBrain) show(s *Simulator, code string) {
	b.triggered = false
	s.send([]byte(code + "\r"))
}

func (b *growBrain) hear(s *Simulator, p []byte) int {
	const length = 9 // all commands that concern us carry one byte
	if p[0] != 0x7e {
		return 1
	}
	if len(p) < length {
		return 0
	}
	if sum := uint16(p[7])<<8 | uint16(p[8]); sum != 0xabcd && sum != crcXMODEM(p[2:7]) {
		return 1
	}
	s.state.Commands++
	value := byte(0)
	switch zone := uint16(p[4])<<8 | uint16(p[5]); {
	case p[2] == 7 && zone == 0:
		value = b.zone
	case p[2] == 8 && zone == 0:
		b.zone = p[6]
	case p[2] == 8 && zone == 2:
		b.triggered = p[6]&1 == 1
	case p[2] == 9:
		s.state.Flashed++
	}
	answer := []byte{0x02, 0x00, 0x00, 0x01, value}
	sum := crcXMODEM(answer[2:])
	if s.wrongSum() {
		sum ^= 0x0101
	}
	s.answer(append(answer, byte(sum>>8), byte(sum)))
	return length
}

// crcXMODEM is CRC-CCITT with initial value 0, byte-wise without a table.
func crcXMODEM(p []byte) (crc uint16) {
	for _, c := range p {
		crc = crc>>8 | crc<<8
		crc ^= uint16(c)
		crc ^= crc & 0xff >> 4
		crc ^= crc << 12
		crc ^= crc & 0xff << 5
	}
	return crc
}
