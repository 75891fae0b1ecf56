package guest

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/speaker"
	"github.com/kipass/kipass/sounds"
)

// loopbackBuffer is long: the loopback card is driven by a clock that ticks every 10 ms here, and stands still while the
// host has other work.
const loopbackBuffer = 500 * time.Millisecond

// clip returns a shipped clip as the speaker takes it.
func clip(t *testing.T, name string) speaker.PCM {
	t.Helper()
	wav, err := sounds.Clip(name)
	must(t, err)
	pcm, err := speaker.Decode(wav, speaker.Rate)
	must(t, err)
	return pcm
}

func newSpeaker(t *testing.T) (*speaker.Speaker, *Ear) {
	t.Helper()
	clips := map[string]speaker.PCM{}
	for _, name := range sounds.Names() {
		clips[name] = clip(t, name)
	}
	if _, err := exec.LookPath("arecord"); err != nil {
		t.Skip("arecord, of Debian's alsa-utils, is not installed")
	}
	ear, err := Listen(speaker.Rate)
	must(t, err)
	t.Cleanup(func() { must(t, ear.Close()) })
	// The far end sets the format of the card, so it must be there first.
	must(t, await("the loopback to be heard", func() (bool, error) { return len(ear.Heard()) > 0, nil }))
	s := speaker.New(speaker.Options{Clips: clips, Volume: 1, Buffer: loopbackBuffer})
	t.Cleanup(func() { must(t, s.Halt()) })
	must(t, await("the speaker to open the card", func() (bool, error) {
		err := s.Check()
		if errors.Is(err, drivers.ErrNotInBuild) {
			t.Skip("the guest was built without sound")
		}
		return err == nil, nil
	}))
	return s, ear
}

// TestSpeaker has one speaker, as a program has, say everything.
func TestSpeaker(t *testing.T) {
	s, ear := newSpeaker(t)
	t.Run("each clip is heard once, sample by sample", func(t *testing.T) { testHeardOnce(t, s, ear) })
	t.Run("a later cue cuts the former", func(t *testing.T) { testCut(t, s, ear) })
}

func testHeardOnce(t *testing.T, s *speaker.Speaker, ear *Ear) {
	cues := [][]string{{"tone/green", "ko/admitted"}, {"tone/amber", "ko/expired"}, {"tone/red", "en/not-genuine"}, {"tone/green", "ko/admitted"}}
	want := map[string]int{}
	for _, names := range cues {
		from := len(ear.Heard())
		began := time.Now()
		must(t, s.Show(t.Context(), drivers.Cue{Clips: names}))
		tell(t, "sound_show_ms", float64(time.Since(began).Milliseconds()))
		at, err := ear.Sounds(from)
		must(t, err)
		must(t, ear.Silence(at, speaker.Rate/2))
		for _, name := range names {
			want[name]++
		}
	}
	heard := ear.Heard()
	tell(t, "sound_seconds_heard", float64(len(heard))/speaker.Rate)
	for _, name := range []string{"tone/green", "tone/amber", "tone/red", "ko/admitted", "ko/expired", "en/not-genuine", "ko/admitted-again"} {
		samples := drivertest.Samples16(clip(t, name))
		matches, err := drivertest.FindClip(heard, samples, 0.95)
		must(t, err)
		if len(matches) != want[name] {
			t.Errorf("%s was heard %d times, want %d: %v", name, len(matches), want[name], matches)
		}
		for _, m := range matches {
			if off := unlike(heard[m.At:], samples); off > 0 {
				t.Errorf("%s at %d: %d of %d samples are not those of the clip", name, m.At, off, len(samples))
			}
			tell(t, "sound_clips_bit_exact", count("sound_clips_bit_exact"))
		}
	}
}

func unlike(heard, clip []float32) (n int) {
	for i := range clip {
		if heard[i] != clip[i] {
			n++
		}
	}
	return n
}

func testCut(t *testing.T, s *speaker.Speaker, ear *Ear) {
	from := len(ear.Heard())
	must(t, s.Show(context.Background(), drivers.Cue{Clips: []string{"ko/expired"}}))
	at, err := ear.Sounds(from)
	must(t, err)
	must(t, s.Show(context.Background(), drivers.Cue{Clips: []string{"ko/admitted"}}))
	must(t, ear.Silence(at, speaker.Rate))
	heard := ear.Heard()[from:]
	for name, want := range map[string]int{"ko/expired": 0, "ko/admitted": 1} {
		matches, err := drivertest.FindClip(heard, drivertest.Samples16(clip(t, name)), 0.95)
		must(t, err)
		if len(matches) != want {
			t.Errorf("%s was heard whole %d times, want %d", name, len(matches), want)
		}
	}
}
