package sounds_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

// decode reads a WAV file with the plain 44-byte header that all clips have and returns samples from -1 to 1.
func decode(wav []byte) ([]float64, error) {
	if len(wav) < 46 {
		return nil, fmt.Errorf("%d bytes are no clip", len(wav))
	}
	le := binary.LittleEndian
	for _, field := range []struct {
		name string
		ok   bool
	}{
		{"RIFF header with the file's size", string(wav[:4]) == "RIFF" && int(le.Uint32(wav[4:])) == len(wav)-8},
		{"WAVE and a format chunk of 16 bytes", string(wav[8:16]) == "WAVEfmt " && le.Uint32(wav[16:]) == 16},
		{"PCM", le.Uint16(wav[20:]) == 1},
		{"one channel", le.Uint16(wav[22:]) == 1},
		{"22,050 Hz", le.Uint32(wav[24:]) == sounds.Rate},
		{"44,100 bytes a second in frames of 2", le.Uint32(wav[28:]) == 2*sounds.Rate && le.Uint16(wav[32:]) == 2},
		{"16 bits", le.Uint16(wav[34:]) == 16},
		{"data up to the end", string(wav[36:40]) == "data" && int(le.Uint32(wav[40:])) == len(wav)-44},
	} {
		if !field.ok {
			return nil, fmt.Errorf("not: %s", field.name)
		}
	}
	samples := make([]float64, (len(wav)-44)/2)
	for i := range samples {
		samples[i] = float64(int16(le.Uint16(wav[44+2*i:]))) / (1 << 15)
	}
	return samples, nil
}

func clip(t *testing.T, name string) []float64 {
	t.Helper()
	wav, err := sounds.Clip(name)
	testkit.Check(t, err)
	samples, err := decode(wav)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return samples
}

func duration(samples []float64) time.Duration {
	return time.Duration(len(samples)) * time.Second / sounds.Rate
}

// onset returns how long it takes until the sound is within 30 dB of its peak.
func onset(samples []float64) time.Duration {
	floor := peak(samples) * math.Pow(10, -30.0/20)
	i := slices.IndexFunc(samples, func(s float64) bool { return math.Abs(s) >= floor })
	return duration(samples[:i])
}

func peak(samples []float64) (highest float64) {
	for _, s := range samples {
		highest = max(highest, math.Abs(s))
	}
	return highest
}

func TestEveryClipIsWellMade(t *testing.T) {
	for _, name := range sounds.Names() {
		t.Run(name, func(t *testing.T) {
			samples := clip(t, name)
			shortest, longest := 500*time.Millisecond, 5500*time.Millisecond
			if strings.HasPrefix(name, "tone/") {
				shortest, longest = 100*time.Millisecond, 250*time.Millisecond
			}
			if d := duration(samples); d < shortest || d > longest {
				t.Errorf("lasts %v, must be from %v to %v", d, shortest, longest)
			}
			if d := duration(samples); sounds.Length(name) != d {
				t.Errorf("is said to last %v, lasts %v", sounds.Length(name), d)
			}
			if start := onset(samples); start >= 20*time.Millisecond {
				t.Errorf("begins with %v of silence, must be below 20 ms", start)
			}
			slices.Reverse(samples)
			if end := onset(samples); end >= 60*time.Millisecond {
				t.Errorf("ends with %v of silence, must be below 60 ms", end)
			}
			slices.Reverse(samples)
			level, top := lufs(samples, sounds.Rate), 20*math.Log10(peak(samples))
			t.Logf("%.2f s, %.1f LUFS, peak %.1f dBFS", duration(samples).Seconds(), level, top)
			if top > -0.9 {
				t.Errorf("peak is %.2f dBFS, must be -1 or less", top)
			}
			atPeak := top > -1.2
			if level > -15 || level < -17 && !atPeak {
				t.Errorf("loudness is %.2f LUFS with a peak of %.2f dBFS; must be -16 ± 1, or less at a peak of -1", level, top)
			}
		})
	}
}

func TestEveryOutcomeHasItsToneAndWords(t *testing.T) {
	toneOf := func(o visit.Outcome) string { return sounds.ClipNames(o)[0] }
	for _, o := range visit.Outcomes() {
		languages := sounds.SpokenLanguages()
		names := sounds.ClipNames(o, languages...)
		want := []string{toneOf(o), "ko/" + o.String(), "en/" + o.String()}
		if !slices.Equal(names, want) {
			t.Errorf("%v: plays %q, want %q", o, names, want)
		}
		for _, name := range names {
			clip(t, name)
		}
		if green := toneOf(o) == "tone/green"; green != o.Green() {
			t.Errorf("%v: green tone is %v", o, green)
		}
	}
}

func TestClipNames(t *testing.T) {
	for _, rule := range []struct {
		name      string
		outcome   visit.Outcome
		languages []string
		want      []string
	}{
		{"the tone comes before the words", visit.Admitted, []string{"ko"}, []string{"tone/green", "ko/admitted"}},
		{"a second language follows the first", visit.Expired, []string{"en", "ko"}, []string{"tone/amber", "en/expired", "ko/expired"}},
		{"no language: the tone alone", visit.NotGenuine, nil, []string{"tone/red"}},
		{"a language twice is said once", visit.Admitted, []string{"ko", "ko"}, []string{"tone/green", "ko/admitted"}},
		{"a language without clips is passed over", visit.NotACode, []string{"zh", "en"}, []string{"tone/amber", "en/not-a-code"}},
		{"only languages without clips: Korean", visit.Admitted, []string{"vi"}, []string{"tone/green", "ko/admitted"}},
		{"an outcome that does not exist is out of service", visit.Outcome(99), []string{"ko"}, []string{"tone/red", "ko/out-of-service"}},
		{"a path is no language", visit.Admitted, []string{"../clips/en", ""}, []string{"tone/green", "ko/admitted"}},
	} {
		t.Run(rule.name, func(t *testing.T) {
			if got := sounds.ClipNames(rule.outcome, rule.languages...); !slices.Equal(got, rule.want) {
				t.Errorf("got %q, want %q", got, rule.want)
			}
		})
	}
}

func TestUnknownClipIsAnError(t *testing.T) {
	for _, name := range []string{"", "ko/", "ko/nothing", "../words", "ko/admitted.wav"} {
		if wav, err := sounds.Clip(name); err == nil || wav != nil {
			t.Errorf("%q: %d bytes, error %v", name, len(wav), err)
		}
	}
}

// strikes returns how many notes a tone has and the pitch of the first and last in hertz, by autocorrelation.
func strikes(samples []float64) (notes int, first, last float64) {
	const window = sounds.Rate / 200 // 5 ms
	top := peak(samples)
	var starts, ends []int
	for i := 0; i+window <= len(samples); i += window {
		if sounding := peak(samples[i:i+window]) > top/8; sounding != (len(starts) > len(ends)) {
			if sounding {
				starts = append(starts, i)
			} else {
				ends = append(ends, i)
			}
		}
	}
	if len(ends) < len(starts) {
		ends = append(ends, len(samples))
	}
	final := len(starts) - 1
	return len(starts), pitch(samples[starts[0]:][:1000]), pitch(samples[ends[final]-1200 : ends[final]-200])
}

func pitch(samples []float64) float64 {
	best, bestLag := 0.0, 1
	for lag := sounds.Rate / 2000; lag <= sounds.Rate/200; lag++ {
		var sum float64
		for i := 0; i+lag < len(samples); i++ {
			sum += samples[i] * samples[i+lag]
		}
		if sum > best {
			best, bestLag = sum, lag
		}
	}
	return sounds.Rate / float64(bestLag)
}

func TestTonesDifferInPitchAndRhythm(t *testing.T) {
	for _, rule := range []struct {
		tone        string
		notes       int
		first, last float64
	}{
		{"tone/green", 1, 988, 1319}, // rising without a break
		{"tone/amber", 2, 659, 659},  // level, middle
		{"tone/red", 3, 370, 370},    // level, low, three times
	} {
		notes, first, last := strikes(clip(t, rule.tone))
		if notes != rule.notes || math.Abs(first/rule.first-1) > 0.06 || math.Abs(last/rule.last-1) > 0.06 {
			t.Errorf("%s has %d notes from %.0f to %.0f Hz, want %d from %.0f to %.0f", rule.tone, notes, first, last, rule.notes, rule.first, rule.last)
		}
	}
}
