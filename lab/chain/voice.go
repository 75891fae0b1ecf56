package chain

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/sounds"
)

// Clips of the voice, by their paths below sounds/.
const (
	toneOfGreen  = "tone/green"
	wordsOfGreen = "ko/admitted"
)

const listenEvery = 200 * time.Millisecond

// voice takes the samples that leave the gate's process on their way to the sound card: a card made of ALSA's file
// plug-in, which takes them at the pace of a real one.
type voice struct{ card *drivertest.SoundCard }

func newVoice(dir string) (*voice, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	card, err := drivertest.NewSoundCard(dir, speaker.Rate)
	if err != nil {
		return nil, fmt.Errorf("making a sound card of ALSA's file plug-in: %w", err)
	}
	return &voice{card: card}, nil
}

// env makes the card the default device of a program started with it.
func (v *voice) env() []string { return v.card.Env() }

func (v *voice) close() error { return v.card.Close() }

// heard counts how often a clip, or its first part in seconds, was played.
func (v *voice) heard(clip string, seconds float64) (int, error) {
	return v.heardFrom(0, clip, seconds)
}

// await waits until a clip was played from a sample on, however slow the machine is.
func (v *voice) await(ctx context.Context, from int, clip string, seconds float64) error {
	for deadline := time.Now().Add(patience); ; {
		if n, err := v.heardFrom(from, clip, seconds); n > 0 || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not heard within %v", clip, patience)
		}
		select {
		case <-time.After(listenEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (v *voice) heardFrom(from int, clip string, seconds float64) (int, error) {
	wav, err := sounds.Clip(clip)
	if err != nil {
		return 0, err
	}
	pcm, err := speaker.Decode(wav, speaker.Rate)
	if err != nil {
		return 0, err
	}
	samples := drivertest.Samples16(pcm)
	if n := int(seconds * speaker.Rate); n < len(samples) {
		samples = samples[:n]
	}
	matches, err := drivertest.FindClip(v.card.Samples()[from:], samples, 0.9)
	return len(matches), err
}
