package evdevscan

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Kinds and codes of events, from the kernel's include/uapi/linux/input-event-codes.h.
const (
	evSyn = 0x00
	evKey = 0x01

	synReport  = 0
	synDropped = 3
)

// Values of a key event.
const (
	released = 0
	pressed  = 1
	repeated = 2
)

// layout is the size in bytes of the kernel's struct input_event, which begins with two longs for the time: 24 where a
// program's words have 64 bits, 16 where they have 32, whatever those of the kernel have.
type layout int

const (
	layout32 layout = 16
	layout64 layout = 24
)

// native is the layout this program is given.
const native = layout32 + (layout64-layout32)*(strconv.IntSize/32-1)

// event is one struct input_event.
type event struct {
	at    time.Duration // by the clock that was chosen for the device
	kind  uint16
	code  uint16
	value int32
}

// decode reads the first event in p, which holds at least one.
func (l layout) decode(p []byte) event {
	word := (int(l) - 8) / 2
	e := event{
		kind:  binary.NativeEndian.Uint16(p[2*word:]),
		code:  binary.NativeEndian.Uint16(p[2*word+2:]),
		value: int32(binary.NativeEndian.Uint32(p[2*word+4:])),
	}
	// Seconds are unsigned in the small layout (they wrap in 2106), and microseconds are below a million in either.
	if l == layout32 {
		e.at = timeOf(uint64(binary.NativeEndian.Uint32(p)), uint64(binary.NativeEndian.Uint32(p[word:])))
	} else {
		e.at = timeOf(binary.NativeEndian.Uint64(p), binary.NativeEndian.Uint64(p[word:]))
	}
	return e
}

func timeOf(seconds, micros uint64) time.Duration {
	return time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond
}

// events cuts a stream of bytes into events. The kernel hands out whole ones only.
type events struct {
	layout layout
	rest   []byte // the beginning of an event
}

// push takes bytes and returns the events they complete.
func (s *events) push(p []byte, take func(event)) {
	size := int(s.layout)
	if len(s.rest) > 0 {
		n := min(size-len(s.rest), len(p))
		s.rest, p = append(s.rest, p[:n]...), p[n:]
		if len(s.rest) < size {
			return
		}
		take(s.layout.decode(s.rest))
		s.rest = s.rest[:0]
	}
	for ; len(p) >= size; p = p[size:] {
		take(s.layout.decode(p))
	}
	s.rest = append(s.rest, p...)
}
