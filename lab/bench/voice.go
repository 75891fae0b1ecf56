package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/sounds"
)

const (
	spokenScans = 30
	spokenWarm  = 2
	soundWithin = 5 * time.Second
	quiet       = 300 * time.Millisecond // so long without a sample, the sound has ended
	quietWithin = 10 * time.Second
)

// measureVoice takes a code from the last byte on the line to the first sample a sound card takes, through the real
// gate and ALSA, in turns with a bare gate that plays a tone for whatever comes. The voice is at rest before each scan,
// which is the slowest case.
func measureVoice(ctx context.Context, s *site) (figures []Figure, err error) {
	k, err := newKiosk(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	least, err := newBareGate(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, least.close()) }()
	var whole, bare laps
	for n := range spokenScans + spokenWarm {
		if n%10 == 0 {
			s.say("scan %d of %d", n, spokenScans+spokenWarm)
		}
		for i := range 2 {
			took, err := time.Duration(0), error(nil)
			if turn(i, n, 2) == 0 {
				took, err = k.speak(ctx, k.line, k.card)
				whole = append(whole, took)
			} else {
				took, err = k.speak(ctx, least.line, least.card)
				bare = append(bare, took)
			}
			if err != nil {
				return nil, fmt.Errorf("scan %d: %w", n+1, err)
			}
		}
	}
	scans, err := scansLogged(s.path("kipass-gate.log"))
	if err != nil {
		return nil, err
	}
	if len(scans) != len(whole) {
		return nil, fmt.Errorf("the gate logged %d scans of %d", len(scans), len(whole))
	}
	heard, err := k.heard("tone/green")
	if err != nil {
		return nil, err
	}
	if heard != len(whole) {
		return nil, fmt.Errorf("the tone of admission was heard %d times in %d scans", heard, len(whole))
	}
	var cue laps
	for n := range whole {
		cue = append(cue, whole[n]-scans[n])
	}
	whole, cue, bare = whole[spokenWarm:], cue[spokenWarm:], bare[spokenWarm:]
	const of = "a program that reads the code from a terminal and plays a tone through ALSA, whatever it has read"
	const checked = "the code is checked and its visit flushed to the disk before anything is said"
	return []Figure{
		compared("last_byte_to_first_sample_p95", "ms", whole.at(0.95)*1e3, bare.at(0.95)*1e3, of, atMost(2, checked)),
		comparedTimes("last_byte_to_first_sample_median", "ms", 1e3, whole, bare, of, atMost(1.75, checked)),
		comparedTimes("cue_to_first_sample_median", "ms", 1e3, cue, bare, of,
			atMost(1.25, "the voice finds the clip, at its volume, and watches that the device takes it")),
	}, nil
}

// speak sends a new code over a line, returns the time from its last byte to the first sample that a card takes, and waits
// until all is said.
func (k *kiosk) speak(ctx context.Context, line *drivertest.Pty, card *drivertest.SoundCard) (time.Duration, error) {
	text, err := k.scheme.code()
	if err != nil {
		return 0, err
	}
	from := card.Len()
	frame := []byte(text + "\r")
	began := time.Now()
	if _, err := line.Write(frame); err != nil {
		return 0, err
	}
	_, heard, err := card.FirstSound(from, soundWithin)
	if err != nil {
		return 0, err
	}
	for last, since := card.Len(), time.Now(); time.Since(since) < quiet; {
		select {
		case <-time.After(quiet / 10):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if n := card.Len(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(heard) > quietWithin {
			return 0, fmt.Errorf("the voice does not end within %v", quietWithin)
		}
	}
	return heard.Sub(began), nil
}

// heard counts how often a clip was played.
func (k *kiosk) heard(clip string) (int, error) {
	wav, err := sounds.Clip(clip)
	if err != nil {
		return 0, err
	}
	pcm, err := speaker.Decode(wav, speaker.Rate)
	if err != nil {
		return 0, err
	}
	matches, err := drivertest.FindClip(k.card.Samples(), drivertest.Samples16(pcm), 0.9)
	return len(matches), err
}

var scanLogged = regexp.MustCompile(`(?m) msg=scan outcome=(\S+) .*\bduration=(\S+)`)

// scansLogged reads from the gate's log how long each scan took up to its cue.
func scansLogged(path string) (laps, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var took laps
	for _, m := range scanLogged.FindAllSubmatch(raw, -1) {
		if string(m[1]) != "admitted" {
			return nil, fmt.Errorf("a good code was %s", m[1])
		}
		d, err := time.ParseDuration(string(m[2]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		took = append(took, d)
	}
	return took, nil
}
