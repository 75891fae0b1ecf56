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
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/sounds"
)

// loopbackBuffer is long because the loopback card is driven by a clock that ticks every 10 ms here.
const loopbackBuffer = 500 * time.Millisecond

// clip returns a shipped clip as the speaker takes it.
func clip(t *testing.T, name string) speaker.PCM {
	t.Helper()
	wav := testkit.Must(sounds.Clip(name))(t)
	pcm := testkit.Must(speaker.Decode(wav, speaker.Rate))(t)
	return pcm
}

func newSpeaker(t *testing.T) (*speaker.Speaker, *Recorder) {
	t.Helper()
	clips := map[string]speaker.PCM{}
	for _, name := range sounds.Names() {
		clips[name] = clip(t, name)
	}
	if _, err := exec.LookPath("arecord"); err != nil {
		t.Skip("arecord, of Debian's alsa-utils, is not installed")
	}
	testkit.Check(t, UseLoopback())
	rec := testkit.Must(Record(speaker.Rate))(t)
	t.Cleanup(func() { testkit.Check(t, rec.Close()) })
	// The far end sets the format of the card, so it must be there first.
	testkit.Check(t, await("the loopback to be heard", func() (bool, error) { return len(rec.Samples()) > 0, nil }))
	s := speaker.New(speaker.Options{Clips: clips, Volume: 1, Buffer: loopbackBuffer})
	t.Cleanup(func() { testkit.Check(t, s.Halt()) })
	testkit.Check(t, await("the speaker to open the card", func() (bool, error) {
		err := s.Check()
		if errors.Is(err, drivers.ErrNotInBuild) {
			t.Skip("the guest was built without sound")
		}
		return err == nil, nil
	}))
	return s, rec
}

// TestSpeaker has one speaker, as a program has, say everything.
func TestSpeaker(t *testing.T) {
	s, rec := newSpeaker(t)
	t.Run("each clip is heard once, sample by sample", func(t *testing.T) { testHeardOnce(t, s, rec) })
	t.Run("a later cue cuts the former", func(t *testing.T) { testCut(t, s, rec) })
}

func testHeardOnce(t *testing.T, s *speaker.Speaker, rec *Recorder) {
	cues := [][]string{{"tone/green", "ko/admitted"}, {"tone/amber", "ko/expired"}, {"tone/red", "en/not-genuine"}, {"tone/green", "ko/admitted"}}
	want := map[string]int{}
	for _, names := range cues {
		from := len(rec.Samples())
		began := time.Now()
		testkit.Check(t, s.Show(t.Context(), drivers.Cue{Clips: names}))
		report(t, "sound_show_ms", float64(time.Since(began).Milliseconds()))
		at := testkit.Must(rec.Sound(from))(t)
		testkit.Check(t, rec.Silence(at, speaker.Rate/2))
		for _, name := range names {
			want[name]++
		}
	}
	heard := rec.Samples()
	report(t, "sound_seconds_heard", float64(len(heard))/speaker.Rate)
	for _, name := range []string{"tone/green", "tone/amber", "tone/red", "ko/admitted", "ko/expired", "en/not-genuine", "ko/admitted-again"} {
		samples := drivertest.Samples16(clip(t, name))
		matches := testkit.Must(drivertest.FindClip(heard, samples, 0.95))(t)
		if len(matches) != want[name] {
			t.Errorf("%s was heard %d times, want %d: %v", name, len(matches), want[name], matches)
		}
		for _, m := range matches {
			if off := unlike(heard[m.At:], samples); off > 0 {
				t.Errorf("%s at %d: %d of %d samples are not those of the clip", name, m.At, off, len(samples))
			}
			report(t, "sound_clips_bit_exact", count("sound_clips_bit_exact"))
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

func testCut(t *testing.T, s *speaker.Speaker, rec *Recorder) {
	from := len(rec.Samples())
	testkit.Check(t, s.Show(context.Background(), drivers.Cue{Clips: []string{"ko/expired"}}))
	at := testkit.Must(rec.Sound(from))(t)
	testkit.Check(t, s.Show(context.Background(), drivers.Cue{Clips: []string{"ko/admitted"}}))
	testkit.Check(t, rec.Silence(at, speaker.Rate))
	heard := rec.Samples()[from:]
	for name, want := range map[string]int{"ko/expired": 0, "ko/admitted": 1} {
		matches := testkit.Must(drivertest.FindClip(heard, drivertest.Samples16(clip(t, name)), 0.95))(t)
		if len(matches) != want {
			t.Errorf("%s was heard whole %d times, want %d", name, len(matches), want)
		}
	}
}
