package chain

import (
	"fmt"
	"os"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/sounds"
)

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
	matches, err := drivertest.FindClip(v.card.Samples(), samples, 0.9)
	return len(matches), err
}
