// Package framing cuts the bytes of a reader into frames. It is shared by the reader families that receive a plain byte
// stream: serial lines and sockets.
package framing

import (
	"bytes"
	"time"
	"unicode/utf8"

	"github.com/kipass/kipass/drivers"
)

// Frame is one frame, or the place where one had to be dropped.
type Frame struct {
	Data    []byte    // 1 to drivers.MaxFrame bytes, owned by the receiver; nil where a frame was dropped
	At      time.Time // when its last byte arrived
	Garbled bool      // it does not look like anything a reader set up rightly would send; true where dropped
}

// Garbled tells whether data looks like noise, as a wrong baud rate makes it: bytes that are no UTF-8, or control
// characters other than the separators FS, GS, RS and US that GS1 codes hold.
func Garbled(data []byte) bool {
	for _, c := range data {
		if c == 0x7f || c < 0x1c {
			return true
		}
	}
	return !utf8.Valid(data)
}

// Framer cuts one stream. Its owner is the goroutine that reads the stream.
type Framer struct {
	rule     Rule
	maxRaw   int // bytes that a frame of MaxFrame may have before it is tidied
	buf      []byte
	last     time.Time
	overlong bool // what comes is dropped up to the next end
}

// New returns a framer at the beginning of a frame, by a rule that may leave its defaults out.
func New(r Rule) *Framer {
	r = r.WithDefaults()
	const edges = 8 // STX, an AIM identifier, ETX, EOT, CR, LF
	return &Framer{rule: r, maxRaw: drivers.MaxFrame + len(r.Prefix) + len(r.Suffix) + edges}
}

// Push takes bytes that arrived at the time given and emits every frame they end.
func (f *Framer) Push(at time.Time, p []byte, emit func(Frame)) {
	for _, c := range p {
		f.last = at
		switch {
		case f.ends(c):
			f.finish(at, emit)
		case f.overlong:
			f.keepLast(c)
		case len(f.buf) == f.maxRaw:
			f.overlong = true
			f.keepLast(c)
		default:
			f.buf = append(f.buf, c)
		}
	}
}

// keepLast remembers the last byte of an overlong frame only, which is all that finding its end takes.
func (f *Framer) keepLast(c byte) { f.buf = append(f.buf[:0], c) }

func (f *Framer) ends(c byte) bool {
	switch f.rule.Terminator {
	case CR:
		return c == '\r'
	case LF:
		return c == '\n'
	case CRLF:
		return c == '\n' && len(f.buf) > 0 && f.buf[len(f.buf)-1] == '\r'
	case Tab:
		return c == '\t'
	case ETX:
		return c == 0x03
	case None:
		return false
	default:
		return c == '\r' || c == '\n' || c == '\t' || c == 0x03
	}
}

// Idle is called when a wait for bytes ended without any. A frame in the making ends here, or is forgotten, if the
// silence since its last byte is long enough. Push never takes time into account: a starved process that comes late to
// bytes which had followed each other closely must not cut a frame in two.
func (f *Framer) Idle(now time.Time, emit func(Frame)) {
	if len(f.buf) == 0 && !f.overlong {
		return
	}
	silence := now.Sub(f.last)
	switch f.rule.Terminator {
	case Auto, None:
		if silence >= f.rule.Gap {
			f.finish(f.last, emit)
		}
	default:
		if silence >= stale {
			f.Drop()
			emit(Frame{At: f.last, Garbled: true})
		}
	}
}

// Silence returns how long a silence ends the frame in the making, or makes it be forgotten; 0 when there is none.
func (f *Framer) Silence() time.Duration {
	switch {
	case len(f.buf) == 0 && !f.overlong:
		return 0
	case f.rule.Terminator == Auto || f.rule.Terminator == None:
		return f.rule.Gap
	default:
		return stale
	}
}

// End ends the frame in the making as its terminator would. It is for streams that mark the end of a frame by other means
// than bytes: a datagram, or a connection that was closed in good order.
func (f *Framer) End(emit func(Frame)) {
	if len(f.buf) > 0 || f.overlong {
		f.finish(f.last, emit)
	}
}

// Spoil says that bytes of the stream were lost just before the time given: the frame in the making, or the one whose
// beginning may be among them, is dropped up to its end.
func (f *Framer) Spoil(at time.Time) { f.buf, f.last, f.overlong = f.buf[:0], at, true }

// Drop forgets the frame in the making.
func (f *Framer) Drop() { f.buf, f.overlong = f.buf[:0], false }

func (f *Framer) finish(at time.Time, emit func(Frame)) {
	data, overlong := f.rule.Tidy(f.buf), f.overlong
	f.Drop()
	switch {
	case overlong || len(data) > drivers.MaxFrame:
		emit(Frame{At: at, Garbled: true})
	case len(data) > 0:
		emit(Frame{Data: bytes.Clone(data), At: at, Garbled: Garbled(data)})
	}
}
