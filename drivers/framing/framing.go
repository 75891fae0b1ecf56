// Package framing cuts the bytes of a reader into frames, takes away what readers put around a code, and knows a reader
// that is set up wrongly by what it makes of codes. Every reader family uses it.
package framing

import (
	"bytes"
	"time"

	"github.com/kipass/kipass/drivers"
)

// Frame is one frame. One without Data is nothing that anybody presented: it only tells of a reader set up wrongly.
type Frame struct {
	Data    []byte    // 1 to drivers.MaxFrame bytes with printable content, owned by the receiver; of a longer frame its beginning; or nil
	At      time.Time // when its last byte arrived
	Whole   bool      // it is a code as Rule.Code has it or, where that is not given, any text that is not garbled
	Garbled bool      // it does not look like anything a reader set up rightly would send; at most one frame of a presentation
	Torn    bool      // bytes of it were lost; substitute stands in Data for them
	Flaw    string    // what the reader's settings make of codes, in words for the technician; "" if nothing is known
}

// substitute stands in a frame for bytes that were lost (SUB, ECMA-48). No code holds it, so that no torn frame is one.
const substitute = 0x1a

// Framer cuts one stream. Its owner is the goroutine that reads the stream.
//
// A code is a presentation. So is everything else that comes without a silence or a code between, as the lines of a
// business card do: of that only the first frame is delivered, so that whoever shows it gets one answer.
type Framer struct {
	rule     Rule
	maxRaw   int // bytes of a frame that are kept
	buf      []byte
	tail     byte // the byte pushed last
	last     time.Time
	overlong bool // bytes of the frame in the making were not kept
	torn     bool // bytes of it were lost

	told  bool // something foreign of this presentation was delivered
	noisy bool // something garbled of this presentation was told
}

// New returns a framer at the beginning of a frame, by a rule that may leave its defaults out.
func New(r Rule) *Framer {
	r = r.WithDefaults()
	const edges = 32 // STX, an AIM identifier, a character set, ETX, EOT, CR, LF, spaces
	return &Framer{rule: r, maxRaw: drivers.MaxFrame + len(r.Prefix) + len(r.Suffix) + edges}
}

// Push takes bytes that arrived at the time given and emits every frame they end.
func (f *Framer) Push(at time.Time, p []byte, emit func(Frame)) {
	for _, c := range p {
		if Filler(c) {
			continue
		}
		if f.ends(c) {
			if f.making() {
				f.last = at
				f.finish(at, emit)
			}
		} else {
			f.add(at, c)
		}
		f.tail = c
	}
}

// add takes a byte of the frame. An edge before its first byte is none of it: what is sent to keep a line alive begins no
// frame and is no end to a silence.
func (f *Framer) add(at time.Time, c byte) {
	switch {
	case Filler(c) || len(f.buf) == 0 && edge(c):
		return
	case len(f.buf) == 0:
		if at.Sub(f.last) >= parted { // a starved process may answer one presentation twice, but leaves none without
			f.told, f.noisy = false, false
		}
		f.buf = append(f.buf, c)
	case len(f.buf) < f.maxRaw:
		f.buf = append(f.buf, c)
	default:
		f.overlong = true
	}
	f.last = at
}

// Whole takes a frame that was cut by other means than an end or silence, as one that came in packets is.
func (f *Framer) Whole(at time.Time, raw []byte, emit func(Frame)) {
	f.Drop()
	f.take(at, raw, emit)
}

// Torn takes what is left of such a frame of which bytes were lost.
func (f *Framer) Torn(at time.Time, raw []byte, emit func(Frame)) {
	f.Drop()
	f.Spoil(at)
	f.take(at, raw, emit)
}

func (f *Framer) take(at time.Time, raw []byte, emit func(Frame)) {
	for _, c := range raw {
		f.add(at, c)
	}
	f.End(emit)
}

func (f *Framer) ends(c byte) bool {
	switch f.rule.Terminator {
	case CR:
		return c == '\r'
	case LF:
		return c == '\n'
	case CRLF:
		return c == '\n' && f.tail == '\r'
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

// making tells whether a frame has begun.
func (f *Framer) making() bool { return len(f.buf) > 0 }

// Idle is called when a wait for bytes ended without any. A frame in the making, and then the presentation, ends here if
// the silence since its last byte is long enough. Push never cuts a frame by time: a starved process that comes late to bytes
// which had followed each other closely must not make two of it.
func (f *Framer) Idle(now time.Time, emit func(Frame)) {
	silence := f.Silence()
	if silence == 0 || now.Sub(f.last) < silence {
		return
	}
	if f.making() {
		f.finish(f.last, func(frame Frame) {
			if f.named() && !frame.Torn {
				frame.Flaw = flawNoEnd(f.rule.Terminator)
			}
			emit(frame)
		})
	}
	if now.Sub(f.last) >= parted {
		f.told, f.noisy = false, false
	}
}

// Silence returns how long a silence ends the frame in the making or the presentation; 0 when there is neither.
func (f *Framer) Silence() time.Duration {
	switch {
	case f.making() && f.named():
		return overdue
	case f.making():
		return f.rule.Gap
	case f.told || f.noisy:
		return parted
	default:
		return 0
	}
}

// named tells whether a frame has an end that silence alone does not stand for.
func (f *Framer) named() bool { return f.rule.Terminator != Auto && f.rule.Terminator != None }

// End ends the frame in the making as its terminator would, and the presentation with it where it is over thereby. It is
// for streams that mark the end of a frame by other means than bytes: a datagram, or a connection that was closed in
// good order.
func (f *Framer) End(emit func(Frame)) {
	if f.making() {
		f.finish(f.last, emit)
	}
}

// Spoil says that bytes of the stream were lost just before the time given: the frame in the making, or the one whose
// beginning may be among them, is torn. It is delivered so, because somebody waits for an answer to it.
func (f *Framer) Spoil(at time.Time) {
	if len(f.buf) < f.maxRaw {
		f.buf = append(f.buf, substitute)
	}
	f.last, f.torn = at, true
}

// Drop forgets the frame in the making.
func (f *Framer) Drop() { f.buf, f.overlong, f.torn = f.buf[:0], false, false }

func (f *Framer) finish(at time.Time, emit func(Frame)) {
	data, overlong, torn := f.rule.Tidy(f.buf), f.overlong, f.torn
	f.Drop()
	if !overlong {
		if codes := f.rule.Code.in(data); len(codes) > 0 {
			for _, code := range codes {
				emit(Frame{Data: bytes.Clone(code), At: at, Whole: true})
			}
			f.told, f.noisy = false, false
			return
		}
	}
	data = data[:min(len(data), drivers.MaxFrame)]
	frame := Frame{At: at, Torn: torn, Garbled: !torn && Garbled(data) && !(f.rule.Code.known() && f.noisy)}
	frame.Whole = !f.rule.Code.known() && !frame.Garbled && !torn
	if printable(data) && !(f.rule.Code.known() && f.told) {
		frame.Data, f.told = bytes.Clone(data), f.rule.Code.known()
		if !torn && !overlong {
			frame.Flaw = f.rule.Code.flaw(data)
		}
	}
	if frame.Data != nil || frame.Garbled {
		f.noisy = f.noisy || frame.Garbled
		emit(frame)
	}
}
