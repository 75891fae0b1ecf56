package speaker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
)

// showTime is how long a Show waits at the most.
const showTime = 900 * time.Millisecond

var errNoCard = errors.Join(errors.New("no card"), drivers.ErrUnavailable)

func always(d soundDevice) opener {
	return func(context.Context, time.Duration) (soundDevice, error) { return d, nil }
}

func testOptions() Options {
	return Options{Volume: 1, Clips: map[string]PCM{
		"long": silence(3 * time.Second), "short": silence(200 * time.Millisecond),
	}}
}

func show(s *Speaker, clips ...string) error {
	return s.Show(context.Background(), drivers.Cue{Clips: clips})
}

func halt(t *testing.T, s *Speaker) {
	t.Helper()
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
}

func TestPlaysRestsAndChecksWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{}
		s := start(testOptions(), always(d))
		if err := show(s, "short", "long"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3400 * time.Millisecond)
		played := d.sounds()
		if len(played) != 1 || len(played[0].sound) != len(silence(3200*time.Millisecond+gap)) {
			t.Fatalf("played %d sounds, want one of both clips and the gap", len(played))
		}
		if !played[0].over || played[0].closed < 3280*time.Millisecond {
			t.Errorf("the sound was ended after %v", played[0].closed)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		before, _, asleep := d.state()
		if !asleep {
			t.Error("the device does not rest after the sound")
		}
		time.Sleep(5*time.Minute + time.Second)
		if after, _, _ := d.state(); after-before < 9 || after-before > 10 {
			t.Errorf("the idle device was tried %d times in five minutes, want every 30 s", after-before)
		}
		halt(t, s)
		if _, released, asleep := d.state(); released != 1 || !asleep {
			t.Errorf("after Halt the device rests: %v, was released %d times", asleep, released)
		}
		if err := show(s, "short"); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Show after Halt: %v", err)
		}
		if err := s.Check(); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Check after Halt: %v", err)
		}
		halt(t, s)
	})
}

func TestShow(t *testing.T) {
	quiet := Quiet{From: 22 * time.Hour, To: 7 * time.Hour, Volume: 0.25}
	at := func(hour int) func() time.Time {
		return func() time.Time { return time.Date(2021, 3, 1, hour, 0, 0, 0, time.UTC) }
	}
	for _, rule := range []struct {
		name   string
		change func(*Options)
		then   []string // the cue that follows "long" half a second later
		ended  bool     // whether that ends "long"
		volume float64  // of the sound it begins, 0 for none
		err    string
	}{
		{"a later cue cuts the former", nil, []string{"short"}, true, 1, ""},
		{"a cue without clips cuts too", nil, nil, true, 0, ""},
		{"an unknown clip is an error and the others are played", nil, []string{"short", "nothing"}, true, 1, "no clip is called nothing"},
		{"volume", func(opts *Options) { opts.Volume = 0.5 }, []string{"short"}, true, 0.5, ""},
		{"volume above 1 is 1", func(opts *Options) { opts.Volume = 7 }, []string{"short"}, true, 1, ""},
		{"quiet hours have their own volume", func(opts *Options) { opts.Quiet, opts.Now = quiet, at(23) }, []string{"short"}, true, 0.25, ""},
		{"outside of them the usual one", func(opts *Options) { opts.Quiet, opts.Now = quiet, at(7) }, []string{"short"}, true, 1, ""},
	} {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, o := &fakeDevice{}, testOptions()
				if rule.change != nil {
					rule.change(&o)
				}
				s := start(o, always(d))
				defer halt(t, s)
				if err := show(s, "long"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				err := show(s, rule.then...)
				if rule.err != "" && (err == nil || !strings.Contains(err.Error(), rule.err)) || rule.err == "" && err != nil {
					t.Errorf("error %v, want %q", err, rule.err)
				}
				played := d.sounds()
				if played[0].over != rule.ended || played[0].closed > time.Second {
					t.Errorf("the former sound was ended: %v, after %v", played[0].over, played[0].closed)
				}
				if rule.volume == 0 != (len(played) == 1) || len(played) == 2 && played[1].volume != rule.volume {
					t.Errorf("%d sounds were played, the last at %v; want volume %v", len(played), played[len(played)-1].volume, rule.volume)
				}
			})
		})
	}
}

func TestSilentHoursPlayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, o := &fakeDevice{}, testOptions()
		o.Volume = 0
		s := start(o, always(d))
		defer halt(t, s)
		if err := show(s, "long"); err != nil || len(d.sounds()) != 0 {
			t.Errorf("error %v, %d sounds; want none of both", err, len(d.sounds()))
		}
	})
}

func TestOpeningFailsAndIsRetriedWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{}
		var mu sync.Mutex
		var attempts []time.Time
		there := false
		s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, time.Now())
			if there {
				return d, nil
			}
			return nil, errNoCard
		})
		defer halt(t, s)
		synctest.Wait()
		before := time.Now()
		for range 5 {
			if err := show(s, "short"); !errors.Is(err, drivers.ErrUnavailable) {
				t.Errorf("Show: %v", err)
			}
		}
		if err := s.Check(); !errors.Is(err, errNoCard) || time.Since(before) != 0 {
			t.Errorf("Check: %v, after %v", err, time.Since(before))
		}
		time.Sleep(10 * time.Minute)
		mu.Lock()
		there = true
		if n := len(attempts); n < 40 || n > 50 {
			t.Errorf("%d attempts in ten minutes, want one every 15 s in the end", n)
		}
		if first := attempts[1].Sub(attempts[0]); first != firstRetry {
			t.Errorf("the second attempt came after %v, want %v", first, firstRetry)
		}
		mu.Unlock()
		time.Sleep(lastRetry)
		if err := errors.Join(s.Check(), show(s, "short")); err != nil || len(d.sounds()) != 1 {
			t.Errorf("with the device there: %v, %d sounds", err, len(d.sounds()))
		}
	})
}

func TestDeviceThatHangs(t *testing.T) {
	for _, rule := range []struct {
		name string
		when func(s *Speaker) error // brings the device to where it hangs
	}{
		{"while asleep", func(*Speaker) error { time.Sleep(5 * time.Second); return nil }},
		{"in the middle of a sound", func(s *Speaker) error { return show(s, "long") }},
	} {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &fakeDevice{}
				s := start(testOptions(), always(d))
				if err := rule.when(s); err != nil {
					t.Fatal(err)
				}
				blocked := make(chan struct{})
				d.set(func() { d.blocked = blocked })
				before := time.Now()
				if err := show(s, "short"); !errors.Is(err, drivers.ErrUnavailable) || time.Since(before) > showTime {
					t.Errorf("Show: %v after %v", err, time.Since(before))
				}
				if err := s.Check(); !errors.Is(err, errStalled) {
					t.Errorf("Check: %v", err)
				}
				before = time.Now()
				if err := show(s, "short"); !errors.Is(err, errStalled) || time.Since(before) != 0 {
					t.Errorf("the second Show: %v after %v, want at once", err, time.Since(before))
				}
				time.Sleep(time.Hour)
				for _, v := range d.sounds() {
					if !v.over {
						t.Error("a sound still waits for the device: it would be heard much later")
					}
				}
				heard := len(d.sounds())
				d.set(func() { d.blocked = nil })
				close(blocked)
				time.Sleep(time.Second)
				if err := errors.Join(s.Check(), show(s, "short")); err != nil || len(d.sounds()) != heard+1 {
					t.Errorf("once it goes on: %v, %d new sounds", err, len(d.sounds())-heard)
				}
				halt(t, s)
			})
		})
	}
}

func TestHaltDoesNotWaitForADeviceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{}
		s := start(testOptions(), always(d))
		if err := show(s, "long"); err != nil {
			t.Fatal(err)
		}
		blocked := make(chan struct{})
		d.set(func() { d.blocked = blocked })
		before := time.Now()
		err := s.Halt()
		if _, released, _ := d.state(); err == nil || time.Since(before) > haltLimit || released != 1 {
			t.Errorf("Halt: %v after %v, released %d times", err, time.Since(before), released)
		}
		close(blocked)
	})
}

func TestOpeningThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		d := &fakeDevice{}
		s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) { <-open; return d, nil })
		defer halt(t, s)
		before := time.Now()
		if err := show(s, "short"); !errors.Is(err, drivers.ErrUnavailable) || time.Since(before) != showTime {
			t.Errorf("Show: %v after %v", err, time.Since(before))
		}
		time.Sleep(openLimit)
		if err := s.Check(); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Check: %v", err)
		}
		time.Sleep(time.Hour)
		close(open)
		synctest.Wait()
		if len(d.sounds()) != 0 {
			t.Error("a cue of an hour ago is said")
		}
		if err := errors.Join(s.Check(), show(s, "short")); err != nil {
			t.Error(err)
		}
	})
}

func TestCueThatWaitsForTheFirstOpeningIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{}
		s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) {
			time.Sleep(300 * time.Millisecond)
			return d, nil
		})
		defer halt(t, s)
		if err := show(s, "short"); err != nil || len(d.sounds()) != 1 {
			t.Errorf("error %v, %d sounds; want one", err, len(d.sounds()))
		}
	})
}

func TestLostDeviceIsReleasedAndOpenedAgain(t *testing.T) {
	for _, rule := range []struct {
		name   string
		asleep bool
		within time.Duration
	}{
		{"in the middle of a sound", false, slowTick},
		{"while asleep", true, 31 * time.Second},
	} {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := &fakeDevice{}, &fakeDevice{}
				next := make(chan *fakeDevice, 2)
				next <- first
				s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) {
					select {
					case d := <-next:
						return d, nil
					default:
						return nil, errNoCard
					}
				})
				defer halt(t, s)
				if err := show(s, "long"); err != nil {
					t.Fatal(err)
				}
				if rule.asleep {
					time.Sleep(5 * time.Second)
				}
				first.set(func() { first.err = errors.New("no such device") })
				time.Sleep(rule.within + time.Millisecond)
				if err := s.Check(); !errors.Is(err, drivers.ErrLost) && !errors.Is(err, errNoCard) {
					t.Errorf("Check: %v", err)
				}
				if err := show(s, "short"); !errors.Is(err, drivers.ErrUnavailable) {
					t.Errorf("Show: %v", err)
				}
				next <- second
				time.Sleep(2 * lastRetry)
				if err := errors.Join(s.Check(), show(s, "short")); err != nil {
					t.Error(err)
				}
				if _, released, _ := first.state(); released != 1 || len(second.sounds()) != 1 {
					t.Errorf("the lost device was released %d times, the new one played %d sounds; want 1 and 1", released, len(second.sounds()))
				}
			})
		})
	}
}

func TestBuildWithoutSoundSaysSoAndDoesNotTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) {
			attempts++
			return nil, errors.Join(errors.New("no voice in this build"), drivers.ErrNotInBuild)
		})
		defer halt(t, s)
		if err := show(s, "short"); !errors.Is(err, drivers.ErrNotInBuild) {
			t.Errorf("the first Show: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if err := show(s, "short"); !errors.Is(err, drivers.ErrNotInBuild) || !errors.Is(s.Check(), drivers.ErrNotInBuild) {
			t.Errorf("a later Show: %v", err)
		}
		if attempts != 1 {
			t.Errorf("%d attempts, want 1", attempts)
		}
	})
}

var (
	_ drivers.Indicator = (*Speaker)(nil)
	_ drivers.Checker   = (*Speaker)(nil)
)
