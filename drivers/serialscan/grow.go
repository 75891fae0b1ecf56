package serialscan

import "encoding/binary"

// Grow's commands that begin with 7E, spoken by GM65, GM812, Waveshare's barcode module and Hamlet readers. Sources: Hamlet
// HBCS2D100W manual p. 14 and 39, Waveshare barcode scanner module manual p. 47, GM812 serial document. How it was checked:
// check sums of the printed commands recomputed, the dialogue against a simulator written from these pages; not against
// a device. The values of the mode and light bits, and that writing 0 to zone 0002 ends a reading, are from memory.
//
// Settings are bits in zones. Writing a zone is volatile until the save command, which is never sent. A zone is read
// before it is written, so that the bits next to ours stay as they are. Answers have no terminator and come glued to the
// next code.
const (
	growRead  = 0x07
	growWrite = 0x08

	growMode        = 0b11 // bits of zone 0000
	growModeCommand = 0b01
	growModeSense   = 0b11
	growLight       = 0b11 << 2
	growLightUse    = 0b01 << 2 // while reading
)

// growCommand returns a command with its check sum.
func growCommand(kind byte, zone uint16, data byte) []byte {
	b := []byte{0x7e, 0x00, kind, 0x01, byte(zone >> 8), byte(zone), data}
	return binary.BigEndian.AppendUint16(b, growChecksum(b[2:]))
}

// growChecksum is CRC-CCITT: polynomial 1021, initial value 0, most significant bit first.
func growChecksum(b []byte) (crc uint16) {
	for _, c := range b {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func grow() family {
	return family{
		bytes: Commands{
			Identify: growCommand(growRead, 0, 1),
			Trigger:  []byte{0x7e, 0x00, growWrite, 0x01, 0x00, 0x02, 0x01, 0xab, 0xcd},
			Stop:     []byte{0x7e, 0x00, growWrite, 0x01, 0x00, 0x02, 0x00, 0xab, 0xcd},
		},
		reply:   func([]byte) matcher { return growReply },
		prepare: growZone,
	}
}

// growZone changes bits of zone 0000, unless they are right already.
func growZone(f family, p purpose) []command {
	var mask, bits byte
	switch p {
	case doPresent:
		mask, bits = growMode, growModeSense
	case doManual, doDisable:
		mask, bits = growMode, growModeCommand
	case doLightOn:
		mask, bits = growLight, growLightUse
	case doLightOff:
		mask = growLight
	default:
		return nil
	}
	return []command{{
		purpose: p,
		bytes:   growCommand(growRead, 0, 1),
		reply:   growReply,
		then: func(answer []byte) []command {
			old, ok := growValue(answer)
			if !ok || old&mask == bits {
				return nil
			}
			return []command{{purpose: p, bytes: growCommand(growWrite, 0, old&^mask|bits), reply: growReply}}
		},
	}}
}

const growOverhead = 6 // 02 00, type, length, check sum

// growReply matches 02 00 00, the length of the data, the data, and a check sum over type, length and data; AB CD stands
// for no check sum.
func growReply(b []byte) (int, verdict) {
	head := [3]byte{0x02, 0x00, 0x00}
	for i := range min(len(b), len(head)) {
		if b[i] != head[i] {
			return 0, foreign
		}
	}
	if len(b) < 4 {
		return 0, partial
	}
	n := int(b[3])
	if n == 0 || n > 16 {
		return 0, foreign
	}
	if n += growOverhead; len(b) < n {
		return 0, partial
	}
	if sum := binary.BigEndian.Uint16(b[n-2:]); sum != 0xabcd && sum != growChecksum(b[2:n-2]) {
		return n, damaged
	}
	return n, accepted
}

// growValue returns the value in an answer of one byte.
func growValue(answer []byte) (byte, bool) {
	if len(answer) != growOverhead+1 {
		return 0, false
	}
	return answer[4], true
}
