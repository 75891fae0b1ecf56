package speaker

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

// A profile is how much of a sound a device has taken so long after its Play, both in milliseconds, in even measure
// between its points.
type profile [][2]int

func (p profile) takes(after time.Duration) time.Duration {
	at, before := float64(after)/float64(ms), [2]int{}
	for _, next := range p {
		if at < float64(next[0]) {
			share := (at - float64(before[0])) / float64(next[0]-before[0])
			return time.Duration((float64(before[1]) + share*float64(next[1]-before[1])) * float64(ms))
		}
		before = next
	}
	return time.Duration(before[1]) * ms
}

// bursts take so much at once, the first after a pause, and the next when that has been played.
func bursts(first, size time.Duration) func(time.Duration) time.Duration {
	return func(at time.Duration) time.Duration {
		if at < first {
			return 0
		}
		return size * (1 + (at-first)/size)
	}
}

const ms = time.Millisecond

// Recorded with a clip of 9.277 s at null sinks of PulseAudio 16.1 and PipeWire 0.3.65, on two cores under thirty times
// their load. PulseAudio's had two seconds of silence before each stream; a buffer that once ran empty began a new one.
var (
	pulse10 = profile{
		{1, 13}, {1218, 13}, {1352, 119}, {3327, 119}, {3820, 592}, {5819, 592}, {5870, 622}, {7994, 622}, {7995, 632},
		{9959, 632}, {10024, 692}, {12015, 692}, {12316, 997}, {14306, 997}, {14396, 1083},
	}
	pulse40 = profile{
		{1, 53}, {1839, 53}, {2727, 947}, {2771, 947}, {3105, 1333}, {3159, 1333}, {5467, 3693}, {5561, 3733},
		{7503, 3733}, {8982, 5227},
	}
	pulse100    = profile{{4, 133}, {1934, 133}, {1972, 233}, {2078, 233}, {11027, 9277}}
	pulse200    = profile{{2, 267}, {1876, 267}, {1878, 400}, {2003, 400}, {2041, 600}, {10769, 9277}}
	pipewire10  = profile{{503, 372}, {652, 482}, {1743, 1200}, {3090, 2477}, {3297, 2477}, {5751, 4727}}
	pipewire100 = profile{{1, 133}, {9239, 9277}}

	rarely = profile{{1, 100}, {2900, 100}, {2901, 200}, {5800, 200}, {5801, 3000}} // has its turn every 2.9 s
)

func server(takes func(time.Duration) time.Duration) *fakeDevice {
	return &fakeDevice{takes: takes, patience: serverPatience}
}

func TestADeviceThatTakesItsTimeIsHeardWhole(t *testing.T) {
	long := 3 * time.Second // the clip
	for rule, d := range map[string]*fakeDevice{
		"a card of 10 ms":                          {takes: bursts(0, 10*ms)},
		"a card of 200 ms":                         {takes: bursts(200*ms, 200*ms)},
		"a card of 1 s":                            {takes: bursts(0, time.Second)},
		"a card of 2 s":                            {takes: bursts(0, 2*time.Second)},
		"a server of 1 s, from 1 s on":             server(bursts(time.Second, time.Second)),
		"a server of 2 s, from 2 s on":             server(bursts(2*time.Second, 2*time.Second)),
		"PulseAudio's null sink, buffer 10 ms":     server(pulse10.takes),
		"PulseAudio's null sink, buffer 40 ms":     server(pulse40.takes),
		"PulseAudio's null sink, buffer 100 ms":    server(pulse100.takes),
		"PulseAudio's null sink, buffer 200 ms":    server(pulse200.takes),
		"PipeWire's null sink, buffer 10 ms":       server(pipewire10.takes),
		"PipeWire's null sink, buffer 100 ms":      server(pipewire100.takes),
		"a process that has its turn rarely":       server(rarely.takes),
		"a card that takes what it is given whole": {takes: bursts(0, time.Minute)},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.IdleCheck = time.Hour
				end := time.Duration(0) // when the device has taken all it is recorded to take, or the clip
				for d.takes(end) < min(long, d.takes(time.Hour)) {
					end += 10 * ms
				}
				opts.Clips["long"] = silence(min(long, d.takes(end)))
				s := start(opts, always(d))
				time.Sleep(time.Second) // it rests
				began := time.Now()
				_ = show(s, "long") // which answers sooner than some of these begin
				for time.Since(began) < end+slowTick {
					if err := s.Check(); err != nil {
						t.Errorf("after %v of %v: %v", time.Since(began), end, err)
						break
					}
					time.Sleep(10 * ms)
				}
				if heard := d.sounds(); len(heard) != 1 || heard[0].closed < end-10*ms {
					t.Errorf("%d sounds were given to the device, ended after %v; want one, after %v", len(heard), heard[0].closed, end)
				}
				time.Sleep(5 * time.Second)
				halt(t, s)
			})
		})
	}
}

// TestADeadDeviceIsNoticed has devices of every pace stop for good: in the middle of a sound, and before they took any of
// it, with cues that follow each other closely too.
func TestADeadDeviceIsNoticed(t *testing.T) {
	for _, rule := range []struct {
		name   string
		device *fakeDevice
		dies   time.Duration // after the Play of the sound
		every  time.Duration // another cue comes, 0 for none
		within time.Duration // of its death, or of the cue if it had died before
	}{
		{"a card at once", &fakeDevice{takes: bursts(0, 10*ms)}, 0, 0, cardPatience},
		{"a card in a sound", &fakeDevice{takes: bursts(0, 10*ms)}, 999 * ms, 0, cardPatience},
		{"a card of 2 s in a sound", &fakeDevice{takes: bursts(0, 2*time.Second)}, 999 * ms, 0, 1001*ms + cardPatience},
		{"a server at once", server(bursts(0, 10*ms)), 0, 0, serverPatience},
		{"a server in a sound", server(pulse100.takes), 2500 * ms, 0, serverPatience},
		{"a server between its bursts", server(pulse100.takes), 500 * ms, 0, serverPatience},
		{"one that swallowed much", server(bursts(0, 20*time.Second)), 10 * ms, 0, maxBurst + serverPatience},
		{"under close cues", server(bursts(0, 10*ms)), 0, 700 * ms, serverPatience},
		{"under cues that are dropped", server(bursts(0, 10*ms)), 999 * ms, 1300 * ms, serverPatience},
	} {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, blocked := rule.device, make(chan struct{})
				opts := testOptions()
				opts.IdleCheck, opts.Clips["endless"] = time.Hour, silence(30*time.Second)
				s := start(opts, always(d))
				time.Sleep(time.Second)
				cue := func(clip string) {
					_ = s.Show(t.Context(), drivers.Cue{Clips: []string{clip}, By: time.Now().Add(1200 * ms)})
				}
				go cue("endless")
				time.Sleep(rule.dies)
				live := d.takes
				d.set(func() {
					d.takes = func(at time.Duration) time.Duration { return live(min(at, rule.dies)) }
					d.blocked = blocked
				})
				died := time.Now()
				for next := died.Add(rule.every); s.Check() == nil && time.Since(died) < time.Minute; time.Sleep(10 * ms) {
					if rule.every > 0 && !time.Now().Before(next) {
						next = next.Add(rule.every)
						go cue("long")
					}
				}
				if took := time.Since(died); !errors.Is(s.Check(), errStalled) || took > rule.within+2*slowTick {
					t.Errorf("noticed after %v, want within %v: %v", took, rule.within, s.Check())
				}
				for _, v := range d.sounds() {
					if !v.over {
						t.Error("a sound still waits for the device: it would be heard much later")
					}
				}
				d.set(func() { d.takes, d.blocked = nil, nil })
				close(blocked)
				time.Sleep(time.Minute)
				if err := errors.Join(s.Check(), show(s, "short")); err != nil {
					t.Errorf("once it goes on: %v", err)
				}
				halt(t, s)
			})
		})
	}
}

// TestABusyMachineIsNotTheDevicesFault lets time pass in which neither the speaker nor the device had a turn.
func TestABusyMachineIsNotTheDevicesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{takes: bursts(0, 200*ms)}
		var slept atomic.Int64
		opts := testOptions().withDefaults()
		s := &Speaker{opts: opts, fault: &device.Fault{}, slowness: 1}
		l := newLoop(opts, always(d), s.fault)
		l.now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		s.worker = device.Work("the sound device", device.ShowLimit, l.run)
		if err := show(s, "long"); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			time.Sleep(500 * ms)
			slept.Add(int64(2 * time.Second))
		}
		time.Sleep(time.Second + slowTick)
		if err := s.Check(); err != nil || len(d.sounds()) != 1 || d.sounds()[0].closed < 2800*ms { // the last burst is taken
			t.Errorf("%d sounds, the first ended after %v: %v", len(d.sounds()), d.sounds()[0].closed, err)
		}
		halt(t, s)
	})
}

// TestADeviceIsKnownByItsHesitation has a card that wakes slowly, as some on HDMI do: the first time it is taken for
// stalled, afterwards it is known.
func TestADeviceIsKnownByItsHesitation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{takes: func(at time.Duration) time.Duration { return max(0, at-800*ms) }}
		opts := testOptions()
		opts.IdleCheck = time.Hour
		s := start(opts, always(d))
		if err := show(s, "long"); !errors.Is(err, errStalled) {
			t.Errorf("the first Show: %v", err)
		}
		time.Sleep(5 * time.Second)
		for range 3 {
			if err := show(s, "long"); err != nil {
				t.Errorf("a later Show: %v", err)
			}
			time.Sleep(5 * time.Second)
		}
		for _, v := range d.sounds()[1:] {
			if v.closed < 3800*ms {
				t.Errorf("a sound was ended after %v", v.closed)
			}
		}
		halt(t, s)
	})
}

// TestNothingIsSaidToWhomHasLeft has a server hesitate for longer than a cue is of use.
func TestNothingIsSaidToWhomHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDevice{patience: serverPatience, takes: bursts(2900*ms, 2900*ms)}
		opts := testOptions()
		opts.IdleCheck = time.Hour
		s := start(opts, always(d))
		time.Sleep(time.Second)
		cue := drivers.Cue{Clips: []string{"long"}, By: time.Now().Add(1200 * ms)}
		if err := s.Show(t.Context(), cue); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Show: %v", err)
		}
		time.Sleep(time.Until(cue.By) + slowTick)
		if heard := d.sounds(); len(heard) != 1 || !heard[0].over {
			t.Errorf("%d sounds were given to the device; the one still waits to be said", len(heard))
		}
		time.Sleep(10 * time.Second)
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		halt(t, s)
	})
}
