//go:build cgo && !nosound

package speaker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/internal/testkit"
)

func TestEachCueIsHeardOnce(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	for range 3 {
		r.must("show tone/green ko/admitted")
		r.heard(card)
	}
	r.must("show tone/amber en/expired")
	names := []string{"ko/admitted", "ko/admitted-again", "en/expired", "tone/green", "tone/amber", "tone/red", "en/admitted"}
	if counts, want := r.heard(card, names...), "[3 0 1 3 1 0 0]"; fmt.Sprint(counts) != want {
		t.Errorf("heard %v times, want %v of %v", counts, want, names)
	}
	r.must("halt")
}

func TestSamplesArriveUnchanged(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	r.must("show ko/admitted")
	r.heard(card)
	clip, recording := drivertest.Samples16(r.clips["ko/admitted"]), card.Samples()
	matches, err := drivertest.FindClip(recording, clip, 0.9)
	if err != nil || len(matches) != 1 {
		t.Fatalf("found %v, %v", matches, err)
	}
	for i, want := range clip {
		if got := recording[matches[0].At+i]; got != want {
			t.Fatalf("sample %d of the clip arrived as %v, is %v", i, got, want)
		}
	}
}

func TestLaterCueCutsTheFormer(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	r.must("show ko/expired")
	start, _, err := card.FirstSound(0, patience)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := card.FirstSound(start+4000, patience); err != nil {
		t.Fatal(err)
	}
	r.must("show ko/admitted")
	if counts := r.heard(card, "ko/expired", "ko/admitted"); counts[0] != 0 || counts[1] != 1 {
		t.Errorf("the first cue was heard whole %d times, the later %d times; want 0 and 1", counts[0], counts[1])
	}
	recording := card.Samples()
	begun, err := drivertest.FindClip(recording[:start+4000], drivertest.Samples16(r.clips["ko/expired"])[:1500], 0.9)
	if err != nil || len(begun) != 1 {
		t.Errorf("the beginning of the first cue was found %v, %v; want once", begun, err)
	}
	r.must("show ko/expired")
	r.must("show")
	if counts := r.heard(card, "ko/expired"); counts[0] != 0 {
		t.Error("a cue without clips did not cut the former")
	}
}

func TestNoCardAtStartAndThenOne(t *testing.T) {
	t.Parallel()
	card := newCard(t)
	testkit.Check(t, card.Unplug())
	r := startRemote(t, card, slowness, DefaultBuffer, time.Second)
	if text := r.refused("ko/admitted"); !strings.Contains(text, "no sound device") {
		t.Errorf("Show without a card says %q", text)
	}
	if _, text := r.do("check"); !strings.Contains(text, "no sound device") {
		t.Errorf("Check without a card says %q", text)
	}
	testkit.Check(t, card.Plug())
	r.until("check", works)
	r.must("show ko/admitted")
	if counts := r.heard(card, "ko/admitted"); counts[0] != 1 {
		t.Errorf("heard %d times, want once: what was refused is not said later", counts[0])
	}
}

func TestCardLostWhileSpeakingAndBack(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	r.must("show ko/expired")
	testkit.Check(t, card.Unplug())
	r.until("check", fails)
	r.refused("ko/admitted")
	testkit.Check(t, card.Plug())
	r.until("check", works)
	r.must("show ko/not-genuine")
	if counts := r.heard(card, "ko/admitted", "ko/not-genuine"); counts[0] != 0 || counts[1] != 1 {
		t.Errorf("the refused cue was heard %d times, the later %d times; want 0 and 1", counts[0], counts[1])
	}
}

func TestCardLostWhileIdleIsNoticed(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	r.must("show tone/green")
	r.heard(card)
	testkit.Check(t, card.Unplug())
	r.until("check", fails) // the idle check of the test's speaker comes every second
}

func TestStalledCard(t *testing.T) {
	t.Parallel()
	r, card := newFixture(t)
	r.must("show tone/green")
	card.Stall(true)
	r.until("show ko/expired", fails)
	r.refused("ko/admitted")
	card.Stall(false)
	r.until("check", works)
	r.must("show ko/not-genuine")
	if counts := r.heard(card, "ko/admitted", "ko/not-genuine"); counts[0] != 0 || counts[1] != 1 {
		t.Errorf("the dropped cue was heard %d times, the later %d times; want 0 and 1", counts[0], counts[1])
	}
}

func TestIdleDeviceRests(t *testing.T) {
	t.Parallel()
	card := newCard(t)
	r := startRemote(t, card, 1, DefaultBuffer, time.Hour) // so that no test of the idle device comes in between
	r.until("show tone/green", works)
	r.heard(card)
	samples := card.Len()
	time.Sleep(time.Second) // a device that does not rest takes samples in it; one that rests takes none in any time
	if more := card.Len() - samples; more > 0 {
		t.Errorf("the idle device was given %d samples", more)
	}
}

// The clip of an admission must not be taken for any other, nor any other for it, whole or by its first 300 ms: this is
// what makes counting it a proof.
func TestAdmittedClipIsLikeNoOther(t *testing.T) {
	t.Parallel()
	clips, err := shippedClips()
	if err != nil {
		t.Fatal(err)
	}
	for _, admitted := range []string{"ko/admitted", "en/admitted"} {
		whole := drivertest.Samples16(clips[admitted])
		for name, clip := range clips {
			for _, pattern := range [][]float32{whole, whole[:Rate*3/10]} {
				matches, err := drivertest.FindClip(drivertest.Samples16(clip), pattern, 0.9)
				if err != nil {
					t.Fatal(err)
				}
				if want := name == admitted; len(matches) > 0 != want {
					t.Errorf("%s, of %d samples, is found in %s: %+v", admitted, len(pattern), name, matches)
				}
			}
		}
	}
}
