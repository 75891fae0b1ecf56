package speaker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Rate is the sample rate in hertz at which the sound device is opened.
const Rate = 22050

// maxClip is the longest clip that is accepted.
const maxClip = 30 * time.Second

// PCM is decoded sound: 16-bit signed little-endian samples of one channel at [Rate].
type PCM []byte

// Duration returns how long the sound lasts.
func (p PCM) Duration() time.Duration { return span(len(p)) }

// span returns how long so many bytes of sound last.
func span(bytes int) time.Duration { return time.Duration(bytes/2) * time.Second / Rate }

const (
	formatPCM        = 1
	formatExtensible = 0xfffe
)

// Decode reads a WAV file (RIFF, Microsoft "New Multimedia Data Types and Data Techniques", 1994) of 16-bit PCM with one
// or two channels, sampled at rate hertz. Two channels are mixed to one. Everything else is refused with an error
// that says what the file is and how to convert it; so are empty files and those longer than 30 s.
func Decode(wav []byte, rate int) (PCM, error) {
	if len(wav) < 12 || string(wav[:4]) != "RIFF" || string(wav[8:12]) != "WAVE" {
		return nil, errors.New("this is no WAV file")
	}
	le := binary.LittleEndian
	channels := 0
	for rest := wav[12:]; ; {
		if len(rest) < 8 {
			return nil, errors.New("the WAV file has no sound in it, or is cut off")
		}
		name, size := string(rest[:4]), int64(le.Uint32(rest[4:]))
		rest = rest[8:]
		if size > int64(len(rest)) {
			return nil, fmt.Errorf("the WAV file is cut off: its %q part should have %d bytes and has %d", name, size, len(rest))
		}
		body := rest[:size]
		switch name {
		case "fmt ":
			if err := checkFormat(body, rate); err != nil {
				return nil, err
			}
			channels = int(le.Uint16(body[2:]))
		case "data":
			if channels == 0 {
				return nil, errors.New("the WAV file does not say its format before its sound")
			}
			return mix(body, channels)
		}
		rest = rest[min(size+size%2, int64(len(rest))):] // parts begin at even places
	}
}

func checkFormat(body []byte, rate int) error {
	if len(body) < 16 {
		return fmt.Errorf("the WAV file's format part has %d bytes, must have 16 or more", len(body))
	}
	le := binary.LittleEndian
	kind, channels, hertz := le.Uint16(body), le.Uint16(body[2:]), le.Uint32(body[4:])
	frame, bits := le.Uint16(body[12:]), le.Uint16(body[14:])
	if kind == formatExtensible && len(body) >= 40 {
		kind = le.Uint16(body[24:]) // the first field of the sub-format's identifier
	}
	convert := fmt.Sprintf("convert it: sox IN.wav -r %d -c 1 -b 16 -e signed-integer OUT.wav", rate)
	switch {
	case kind != formatPCM:
		return fmt.Errorf("the WAV file is in format %#04x, must be PCM; %s", kind, convert)
	case bits != 16:
		return fmt.Errorf("the WAV file has %d bits a sample, must have 16; %s", bits, convert)
	case channels != 1 && channels != 2:
		return fmt.Errorf("the WAV file has %d channels, must have 1 or 2; %s", channels, convert)
	case frame != 2*channels:
		return fmt.Errorf("the WAV file has frames of %d bytes for %d channels of 2 bytes; %s", frame, channels, convert)
	case int64(hertz) != int64(rate):
		return fmt.Errorf("the WAV file is sampled at %d Hz, must be %d; %s", hertz, rate, convert)
	}
	return nil
}

// mix copies the sound and averages two channels.
func mix(data []byte, channels int) (PCM, error) {
	frames := len(data) / (2 * channels)
	switch limit := int(maxClip/time.Second) * Rate; {
	case frames == 0:
		return nil, errors.New("the WAV file has no sound in it")
	case frames > limit:
		return nil, fmt.Errorf("the WAV file has %d samples, at most %d (%v) are played", frames, limit, maxClip)
	}
	pcm := make(PCM, 2*frames)
	if channels == 1 {
		copy(pcm, data)
		return pcm, nil
	}
	le := binary.LittleEndian
	for i := range frames {
		left, right := int16(le.Uint16(data[4*i:])), int16(le.Uint16(data[4*i+2:]))
		le.PutUint16(pcm[2*i:], uint16((int32(left)+int32(right))/2))
	}
	return pcm, nil
}
