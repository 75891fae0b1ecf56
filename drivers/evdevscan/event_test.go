package evdevscan

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// encode appends the event as the kernel lays it out.
func (l layout) encode(p []byte, e event) []byte {
	seconds, micros := uint64(e.at/time.Second), uint64(e.at%time.Second/time.Microsecond)
	if l == layout32 {
		p = binary.NativeEndian.AppendUint32(p, uint32(seconds))
		p = binary.NativeEndian.AppendUint32(p, uint32(micros))
	} else {
		p = binary.NativeEndian.AppendUint64(p, seconds)
		p = binary.NativeEndian.AppendUint64(p, micros)
	}
	p = binary.NativeEndian.AppendUint16(p, e.kind)
	p = binary.NativeEndian.AppendUint16(p, e.code)
	return binary.NativeEndian.AppendUint32(p, uint32(e.value))
}

// TestLayouts holds the decoder to the kernel's layouts, written out byte by byte: two words of time, then 16 bits of kind,
// 16 of code, 32 of value.
func TestLayouts(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the bytes below are those of a little-endian machine, as are all that this is built for")
	}
	want := event{at: 1_600_000_000*time.Second + 123_456*time.Microsecond, kind: evKey, code: keyKPEnter, value: -2}
	for l, p := range map[layout][]byte{
		layout64: {0x00, 0x10, 0x5e, 0x5f, 0, 0, 0, 0, 0x40, 0xe2, 0x01, 0, 0, 0, 0, 0, 1, 0, 96, 0, 0xfe, 0xff, 0xff, 0xff},
		layout32: {0x00, 0x10, 0x5e, 0x5f, 0x40, 0xe2, 0x01, 0, 1, 0, 96, 0, 0xfe, 0xff, 0xff, 0xff},
	} {
		if len(p) != int(l) {
			t.Fatalf("%d bytes for a layout of %d", len(p), l)
		}
		if got := l.decode(p); got != want {
			t.Errorf("%d bytes: got %+v, want %+v", l, got, want)
		}
		if got := l.encode(nil, want); !bytes.Equal(got, p) {
			t.Errorf("%d bytes: encoded as % x, want % x", l, got, p)
		}
	}
}

func TestNativeLayoutIsTheKernels(t *testing.T) {
	type inputEvent struct {
		Time       unix.Timeval
		Kind, Code uint16
		Value      int32
	}
	if int(native) != int(unsafe.Sizeof(inputEvent{})) {
		t.Errorf("the layout has %d bytes, want %d", native, unsafe.Sizeof(inputEvent{}))
	}
}

// FuzzEvents holds that events come out the same however the bytes are cut, and that none is made of less than a whole.
func FuzzEvents(f *testing.F) {
	f.Add(layout64.encode(layout64.encode(nil, event{at: time.Second, kind: 1, code: 30, value: 1}), event{}), uint8(5), true)
	f.Add(layout32.encode(nil, event{at: time.Hour, kind: 0, code: 3}), uint8(1), false)
	f.Fuzz(func(t *testing.T, in []byte, size uint8, large bool) {
		l := layout32
		if large {
			l = layout64
		}
		var whole, parts []event
		all := events{layout: l}
		all.push(in, func(e event) { whole = append(whole, e) })
		cut := events{layout: l}
		for p := range slices.Chunk(in, int(size)+1) {
			cut.push(p, func(e event) { parts = append(parts, e) })
		}
		if !slices.Equal(whole, parts) {
			t.Fatalf("in pieces of %d: %v, want %v", int(size)+1, parts, whole)
		}
		if len(whole) != len(in)/int(l) {
			t.Fatalf("%d events from %d bytes", len(whole), len(in))
		}
	})
}
