package speaker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/internal/device"
)

const (
	states = waking + 1
	events = lost + 1
)

// TestEveryTransition goes every way the table has, from the beginning to each state and on by each event, with a device,
// and checks after every step that device and loop agree with the state.
func TestEveryTransition(t *testing.T) {
	ways := waysToStates()
	for s := range states {
		way, reached := ways[s]
		if !reached {
			t.Errorf("nothing leads to %s", s)
		}
		for e := range events {
			t.Run(fmt.Sprintf("%s, %s", s, e), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &walk{t: t, device: &fakeDevice{}}
					w.loop = newLoop(testOptions().withDefaults(), always(w.device), &device.Fault{})
					w.loop.ctx, w.loop.dueAt = t.Context(), time.Now()
					for _, e := range way {
						w.step(e)
					}
					if w.loop.state != s {
						t.Fatalf("the way %v led to %s", way, w.loop.state)
					}
					w.step(e)
				})
			})
		}
	}
}

// waysToStates returns the events of a shortest way to each state that has one.
func waysToStates() map[state][]event {
	ways := map[state][]event{absent: nil}
	for queue := []state{absent}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for e := range events {
			next, known := transitions[from][e]
			if _, been := ways[next.to]; known && !been {
				ways[next.to] = append(append([]event(nil), ways[from]...), e)
				queue = append(queue, next.to)
			}
		}
	}
	return ways
}

// walk leads a loop through its states by hand.
type walk struct {
	t      *testing.T
	loop   *loop
	device *fakeDevice
}

// step raises one event, with what comes with it, and checks the state it leads to.
func (w *walk) step(e event) {
	w.t.Helper()
	l, from := w.loop, w.loop.state
	before := w.device.calls()
	_, known := transitions[from][e]
	switch {
	case known && e == opened:
		l.device = (<-l.results).device
	case known && e == returned:
		<-l.results
	case known && e == refused:
		<-l.results
		l.cause = errNoCard
	case e == lost:
		l.cause = errNoCard
	case e == begin:
		l.next = utterance{sound: silence(time.Second), volume: 1}
	}
	l.on(e, time.Now())
	synctest.Wait()
	want := from
	if known {
		want = transitions[from][e].to
	} else if w.device.calls() != before {
		w.t.Errorf("%s called the device in state %s, in which it means nothing", e, from)
	}
	if l.state != want {
		w.t.Errorf("%s led from %s to %s, want %s", e, from, l.state, want)
	}
	w.check(from, e)
}

// check holds loop and device against the state.
func (w *walk) check(from state, e event) {
	w.t.Helper()
	l := w.loop
	wrong := func(what string, got, want any) {
		if got != want {
			w.t.Errorf("%s, reached from %s by %s: %s is %v, want %v", l.state, from, e, what, got, want)
		}
	}
	out := l.state == opening || l.state == suspending || l.state == recalled || l.state == waking
	wrong("number of calls whose result has not been taken", len(l.results), map[bool]int{true: 1}[out])
	wrong("number of sounds in the device", w.device.unended(), map[bool]int{true: 1}[l.state.sounding()])
	_, released, asleep := w.device.state()
	wrong("times the device was released", released, map[bool]int{true: 1}[e == lost && from.open()])
	_, known := transitions[from][e]
	switch { // the fake has done at once what it was called for
	case !known || e == lost:
	case l.state == suspending || l.state == recalled || l.state == resting:
		wrong("asleep", asleep, true)
	case l.state.open():
		wrong("asleep", asleep, false)
	}
	wrong("a fault that keeps cues away", l.fault.Get() != nil, e == refused && from == opening || e == lost && from.open() ||
		e == due && (from == opening || from.sounding() || from == suspending))
	wrong("a state without end", l.dueAt.IsZero(), e == due && (from == opening || from.sounding() || from == suspending))
}

// TestNoStateIsADeadEnd holds that a device can be lost in every state in which there is one, that a call that is out
// can return, and that from everywhere a way leads to where the next cue is played at once.
func TestNoStateIsADeadEnd(t *testing.T) {
	for s := range states {
		if _, can := transitions[s][lost]; can != s.open() {
			t.Errorf("%s: the device can be lost: %v, want %v", s, can, s.open())
		}
		if _, can := transitions[s][due]; !can {
			t.Errorf("%s never ends by time", s)
		}
		seen := map[state]bool{s: true}
		for queue := []state{s}; len(queue) > 0; queue = queue[1:] {
			for _, next := range transitions[queue[0]] {
				if !seen[next.to] {
					seen[next.to] = true
					queue = append(queue, next.to)
				}
			}
		}
		if !seen[ready] {
			t.Errorf("from %s no way leads to a device that is ready", s)
		}
	}
}

// TestACueWhileTheDeviceIsBeingSuspended plays the race between a cue and an idle device in full.
func TestACueWhileTheDeviceIsBeingSuspended(t *testing.T) {
	for rule, cues := range map[string][]string{
		"it is played when Suspend has returned": {"long"},
		"a cue without clips takes it back":      {"long", ""},
		"a later one replaces it":                {"short", "long"},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, blocked := &fakeDevice{}, make(chan struct{})
				d.blocked = blocked // so that the device hangs in the Suspend that follows its opening
				s := start(testOptions(), always(d))
				synctest.Wait()
				answers := make(chan error, len(cues))
				for _, clip := range cues {
					var clips []string
					if clip != "" {
						clips = []string{clip}
					}
					go func() { answers <- s.Show(context.Background(), drivers.Cue{Clips: clips}) }()
					synctest.Wait()
				}
				d.set(func() { d.blocked = nil })
				close(blocked)
				time.Sleep(10 * time.Second)
				heard, want := len(d.sounds()), len(cues)
				whole := 0
				for _, v := range d.sounds() {
					if v.closed >= v.sound.Duration() {
						whole++
					}
				}
				if cues[len(cues)-1] == "" {
					want = 1
				}
				if heard != want || (whole == 1) != (cues[len(cues)-1] != "") {
					t.Errorf("%d sounds were given to the device, %d played whole", heard, whole)
				}
				failed := 0
				for range cues {
					if err := <-answers; err != nil {
						failed++
					}
				}
				if failed != len(cues)-1 {
					t.Errorf("%d Shows failed, want all but the last", failed)
				}
				halt(t, s)
			})
		})
	}
}

// TestALostDeviceIsNotHeardOfAgain has a call come back from a device that was given up meanwhile.
func TestALostDeviceIsNotHeardOfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &fakeDevice{}, &fakeDevice{}
		devices := make(chan *fakeDevice, 2)
		devices <- first
		devices <- second
		s := start(testOptions(), func(context.Context, time.Duration) (soundDevice, error) { return <-devices, nil })
		time.Sleep(time.Second) // it rests
		blocked := make(chan struct{})
		first.set(func() { first.blocked = blocked })
		if err := show(s, "short"); !errors.Is(err, errStalled) {
			t.Fatalf("Show: %v", err)
		}
		first.set(func() { first.err = errors.New("no such device") })
		time.Sleep(time.Minute)
		first.set(func() { first.blocked = nil })
		close(blocked)
		synctest.Wait()
		if err := errors.Join(s.Check(), show(s, "short")); err != nil || len(second.sounds()) != 1 {
			t.Errorf("with the second device: %v, %d sounds", err, len(second.sounds()))
		}
		halt(t, s)
	})
}
