package speaker

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// wavFile builds a WAV file; extra chunks come before the format.
func wavFile(format, channels uint16, hertz uint32, bits uint16, data []byte, extra ...string) []byte {
	var b bytes.Buffer
	b.WriteString("RIFF\x00\x00\x00\x00WAVE")
	for _, chunk := range extra {
		b.WriteString(chunk)
	}
	b.WriteString("fmt ")
	frame := channels * bits / 8
	for _, v := range []any{uint32(16), format, channels, hertz, hertz * uint32(frame), frame, bits} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, uint32(len(data)))
	b.Write(data)
	return b.Bytes()
}

func TestDecode(t *testing.T) {
	mono := []byte{1, 0, 2, 0, 255, 255}
	extensible := wavFile(0xfffe, 1, Rate, 16, mono)
	extensible = append(append(append([]byte{}, extensible[:16]...), 40, 0, 0, 0), append(append(append([]byte{}, extensible[20:36]...),
		append([]byte{22, 0, 16, 0, 4, 0, 0, 0, 1, 0}, make([]byte, 14)...)...), extensible[36:]...)...)
	for _, rule := range []struct {
		name string
		wav  []byte
		want []byte
		err  string
	}{
		{"mono is taken as it is", wavFile(1, 1, Rate, 16, mono), mono, ""},
		{"stereo is averaged", wavFile(1, 2, Rate, 16, []byte{0, 0x40, 0, 0x20, 0xff, 0x7f, 0xff, 0x7f}), []byte{0, 0x30, 0xff, 0x7f}, ""},
		{"an odd byte at the end is dropped", wavFile(1, 1, Rate, 16, append(mono, 9)), mono, ""},
		{"other parts are passed over, also of odd size", wavFile(1, 1, Rate, 16, mono, "LIST\x03\x00\x00\x00abc\x00"), mono, ""},
		{"extensible PCM", extensible, mono, ""},
		{"empty", nil, nil, "no WAV file"},
		{"not RIFF", []byte("OggS................"), nil, "no WAV file"},
		{"other rates are refused with the way out", wavFile(1, 1, 44100, 16, mono), nil, "sampled at 44100 Hz, must be 22050; convert it: sox IN.wav -r 22050 -c 1 -b 16"},
		{"8 bits", wavFile(1, 1, Rate, 8, mono), nil, "8 bits a sample"},
		{"24 bits", wavFile(1, 1, Rate, 24, mono), nil, "24 bits a sample"},
		{"float", wavFile(3, 1, Rate, 32, mono), nil, "format 0x0003"},
		{"ADPCM", wavFile(2, 1, Rate, 4, mono), nil, "format 0x0002"},
		{"six channels", wavFile(1, 6, Rate, 16, mono), nil, "6 channels"},
		{"no channels", wavFile(1, 0, Rate, 16, mono), nil, "0 channels"},
		{"no sound", wavFile(1, 1, Rate, 16, nil), nil, "no sound"},
		{"cut off", wavFile(1, 1, Rate, 16, mono)[:47], nil, "cut off"},
		{"cut off after the format", wavFile(1, 1, Rate, 16, mono)[:38], nil, "cut off"},
		{"sound before its format", []byte("RIFF\x00\x00\x00\x00WAVEdata\x02\x00\x00\x00ab"), nil, "does not say its format"},
		{"a part larger than memory", []byte("RIFF\x00\x00\x00\x00WAVEjunk\xff\xff\xff\xff"), nil, "cut off"},
		{"longer than 30 s", wavFile(1, 1, Rate, 16, make([]byte, 2*(30*Rate+1))), nil, "at most"},
	} {
		t.Run(rule.name, func(t *testing.T) {
			got, err := Decode(rule.wav, Rate)
			if rule.err == "" && (err != nil || !bytes.Equal(got, rule.want)) {
				t.Errorf("got % x, %v; want % x", got, err, rule.want)
			}
			if rule.err != "" && (got != nil || err == nil || !strings.Contains(err.Error(), rule.err)) {
				t.Errorf("got % x, %v; want an error with %q", got, err, rule.err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(wavFile(1, 1, Rate, 16, []byte{1, 2, 3, 4}))
	f.Add(wavFile(1, 2, Rate, 16, []byte{1, 2, 3, 4}, "LIST\x03\x00\x00\x00abc\x00"))
	f.Add(wavFile(0xfffe, 1, Rate, 16, []byte{1, 2}))
	f.Fuzz(func(t *testing.T, wav []byte) {
		pcm, err := Decode(wav, Rate)
		if (err == nil) != (len(pcm) > 0) || len(pcm)%2 != 0 || len(pcm) > len(wav) || pcm.Duration() > maxClip {
			t.Errorf("%d bytes gave %d of sound, error %v", len(wav), len(pcm), err)
		}
	})
}

func TestQuietCovers(t *testing.T) {
	at := func(h, m int) time.Time { return time.Date(2021, 3, 1, h, m, 0, 0, time.UTC) }
	night := Quiet{From: 22 * time.Hour, To: 7*time.Hour + 30*time.Minute}
	noon := Quiet{From: 12 * time.Hour, To: 13 * time.Hour}
	for _, rule := range []struct {
		name string
		span Quiet
		now  time.Time
		want bool
	}{
		{"before the night", night, at(21, 59), false},
		{"the beginning belongs to it", night, at(22, 0), true},
		{"after midnight", night, at(0, 0), true},
		{"just before the end", night, at(7, 29), true},
		{"the end does not belong to it", night, at(7, 30), false},
		{"within a day", noon, at(12, 30), true},
		{"after it within a day", noon, at(13, 0), false},
		{"none", Quiet{}, at(0, 0), false},
	} {
		if got := rule.span.covers(rule.now); got != rule.want {
			t.Errorf("%s: %v, want %v", rule.name, got, rule.want)
		}
	}
}
