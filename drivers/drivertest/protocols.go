package drivertest

import (
	"bytes"
	"strings"
)

// plainProtocol is that of a reader without commands, or with those of one letter.
type plainProtocol struct {
	newland, datalogic bool
	disabled           bool
}

func (p *plainProtocol) reset()                         { p.disabled = false }
func (p *plainProtocol) reads() bool                    { return !p.disabled }
func (p *plainProtocol) light() bool                    { return false }
func (p *plainProtocol) show(s *Simulator, code string) { s.send([]byte(code + "\r\n")) }

func (p *plainProtocol) execute(s *Simulator, in []byte) int {
	switch {
	case p.datalogic && (in[0] == 'D' || in[0] == 'E'):
		p.disabled = in[0] == 'D'
	case p.newland && in[0] == '?':
		s.answer([]byte("!"))
	default:
		return 1
	}
	s.state.Commands++
	return 1
}

// honeywellProtocol is that of a reader which comes from the factory in manual trigger mode, its light on.
type honeywellProtocol struct {
	present, triggered, dark bool
}

func (p *honeywellProtocol) reset()      { *p = honeywellProtocol{} }
func (p *honeywellProtocol) reads() bool { return p.present || p.triggered }
func (p *honeywellProtocol) light() bool { return !p.dark }

func (p *honeywellProtocol) show(s *Simulator, code string) {
	p.triggered = false
	s.send([]byte(code + "\r"))
}

func (p *honeywellProtocol) execute(s *Simulator, in []byte) int {
	const longest = 64
	if in[0] != 0x16 {
		return 1
	}
	if len(in) < 3 {
		return 0
	}
	switch string(in[1:3]) {
	case "T\r":
		p.triggered = !p.present
	case "U\r":
		p.triggered = false
	case "M\r":
		end := bytes.IndexAny(in[3:], "!.")
		if end < 0 && len(in) < longest {
			return 0
		}
		if end < 0 {
			return 1
		}
		s.state.Commands++
		text, mark := strings.ToUpper(string(in[3:3+end])), in[3+end]
		value, status := p.menu(text)
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

func (p *honeywellProtocol) menu(text string) (value string, status byte) {
	switch text {
	case "PAPPST":
		p.present, p.triggered = true, false
	case "PAPHHF":
		p.present = false
	case "SCNLED0", "SCNLED1":
		p.dark = text == "SCNLED0"
	case "SCNLED?":
		if value = "1"; p.dark {
			value = "0"
		}
	default:
		return "", 0x05
	}
	return value, 0x06
}

// growProtocol is that of a reader which comes from the factory in manual mode: it reads when its button is pressed, which nobody does here.
type growProtocol struct {
	zone      byte // zone 0000
	triggered bool
}

func (p *growProtocol) reset()      { *p = growProtocol{zone: 0xd4} }
func (p *growProtocol) reads() bool { return p.zone&3 == 3 || p.zone&3 == 1 && p.triggered }
func (p *growProtocol) light() bool { return p.zone>>2&3 != 0 }

func (p *growProtocol) show(s *Simulator, code string) {
	p.triggered = false
	s.send([]byte(code + "\r"))
}

func (p *growProtocol) execute(s *Simulator, in []byte) int {
	const length = 9 // all commands that concern us carry one byte
	if in[0] != 0x7e {
		return 1
	}
	if len(in) < length {
		return 0
	}
	if sum := uint16(in[7])<<8 | uint16(in[8]); sum != 0xabcd && sum != crcXMODEM(in[2:7]) {
		return 1
	}
	s.state.Commands++
	value := byte(0)
	switch zone := uint16(in[4])<<8 | uint16(in[5]); {
	case in[2] == 7 && zone == 0:
		value = p.zone
	case in[2] == 8 && zone == 0:
		p.zone = in[6]
	case in[2] == 8 && zone == 2:
		p.triggered = in[6]&1 == 1
	case in[2] == 9:
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
