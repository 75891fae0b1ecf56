package gpio

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/drivers"
)

const ms = time.Millisecond

var tower = LightsOptions{Name: "front", Green: Line{Name: "G"}, Amber: Line{Name: "A"}, Red: Line{Name: "R"}, Buzzer: Line{Name: "B"}}

// towerOf returns lights on a machine whose edges so far have been taken.
func towerOf(t *testing.T, opts LightsOptions) (*Lights, *fixture) {
	t.Helper()
	r := newFixture(t)
	l, err := newLights(opts, r.opener)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(); err != nil {
		t.Errorf("Check after the start: %v", err)
	}
	return l, r
}

var (
	_ drivers.Indicator = (*Lights)(nil)
	_ drivers.Checker   = (*Lights)(nil)
	_ drivers.Idler     = (*Lights)(nil)
	_ drivers.Indicator = (*Relay)(nil)
	_ drivers.Checker   = (*Relay)(nil)
)

func TestLightsBeginAndEndDark(t *testing.T) {
	for rule, low := range map[string]bool{"active high": false, "active low": true} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := tower
				for _, l := range []*Line{&o.Green, &o.Amber, &o.Red, &o.Buzzer} {
					l.ActiveLow = low
				}
				l, r := towerOf(t, o)
				off, on := low, !low
				wantEdges(t, r.taken(), edge{0, "G", level(off)}, edge{0, "A", level(off)}, edge{0, "R", level(off)}, edge{0, "B", level(off)})
				show(t, l, drivers.Cue{Light: drivers.Green, Hold: time.Hour})
				wantEdges(t, r.taken(), edge{0, "G", level(on)}, edge{0, "B", level(on)})
				halt(t, r, l)
				wantEdges(t, r.taken(), edge{0, "G", level(off)}, edge{0, "B", level(off)})
			})
		})
	}
}

func TestLightsShowAColourForItsHold(t *testing.T) {
	for _, c := range []struct {
		rule string
		cue  drivers.Cue
		want []edge
	}{
		{"green, one beep", drivers.Cue{Light: drivers.Green, Hold: 2 * time.Second}, []edge{
			{0, "G", high}, {0, "B", high}, {100 * ms, "B", low}, {2000 * ms, "G", low}}},
		{"amber, two", drivers.Cue{Light: drivers.Amber, Hold: 2 * time.Second}, []edge{
			{0, "A", high}, {0, "B", high}, {100 * ms, "B", low}, {200 * ms, "B", high}, {300 * ms, "B", low}, {2000 * ms, "A", low}}},
		{"red, three, with a hold that ends before", drivers.Cue{Light: drivers.Red, Hold: 250 * ms}, []edge{
			{0, "R", high}, {0, "B", high}, {100 * ms, "B", low}, {200 * ms, "B", high}, {250 * ms, "R", low}, {300 * ms, "B", low}, {400 * ms, "B", high}, {500 * ms, "B", low}}},
		{"nothing for no colour", drivers.Cue{Light: drivers.Dark, Hold: time.Second}, nil},
		{"no hold, no light", drivers.Cue{Light: drivers.Green}, []edge{{0, "B", high}, {100 * ms, "B", low}}},
		{"10 s at most", drivers.Cue{Light: drivers.Green, Hold: time.Hour}, []edge{{0, "G", high}, {0, "B", high}, {100 * ms, "B", low}, {10000 * ms, "G", low}}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := towerOf(t, tower)
				r.taken()
				show(t, l, c.cue)
				time.Sleep(time.Minute)
				wantEdges(t, r.taken(), c.want...)
				halt(t, r, l)
			})
		})
	}
}

func TestLightsLaterCueReplacesEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := towerOf(t, tower)
		r.taken()
		show(t, l, drivers.Cue{Light: drivers.Red, Hold: 2 * time.Second})
		time.Sleep(150 * ms)
		show(t, l, drivers.Cue{Light: drivers.Green, Hold: 2 * time.Second})
		time.Sleep(1950 * ms)
		show(t, l, drivers.Cue{Light: drivers.Green, Hold: 2 * time.Second})
		time.Sleep(10 * time.Second)
		wantEdges(t, r.taken(),
			edge{0, "R", high}, edge{0, "B", high}, edge{100 * ms, "B", low},
			edge{150 * ms, "R", low}, edge{150 * ms, "G", high}, edge{150 * ms, "B", high}, edge{250 * ms, "B", low},
			edge{2100 * ms, "B", high}, edge{2200 * ms, "B", low}, edge{4100 * ms, "G", low})
		halt(t, r, l)
	})
}

func TestLightsWithoutAmberShowRed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := towerOf(t, LightsOptions{Green: Line{Name: "G"}, Red: Line{Name: "R"}})
		show(t, l, drivers.Cue{Light: drivers.Amber, Hold: time.Second})
		if got := r.high(); got != "R" {
			t.Errorf("lit %q, want red", got)
		}
		halt(t, r, l)
	})
}

func TestLightsIdleColour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := towerOf(t, tower)
		r.taken()
		l.SetIdle(drivers.Red)
		time.Sleep(time.Second)
		l.SetIdle(drivers.Red)
		show(t, l, drivers.Cue{Light: drivers.Amber, Hold: time.Second})
		time.Sleep(500 * ms)
		l.SetIdle(drivers.Red)
		time.Sleep(time.Second)
		l.SetIdle(drivers.Dark)
		time.Sleep(time.Second)
		wantEdges(t, r.taken(), edge{0, "R", high},
			edge{1000 * ms, "R", low}, edge{1000 * ms, "A", high}, edge{1000 * ms, "B", high}, edge{1100 * ms, "B", low},
			edge{1200 * ms, "B", high}, edge{1300 * ms, "B", low}, edge{2000 * ms, "A", low}, edge{2000 * ms, "R", high},
			edge{2500 * ms, "R", low})
		halt(t, r, l)
	})
}

var errAbsent = errors.Join(errors.New("the kernel has no GPIO chip"), drivers.ErrUnavailable)

func TestLightsThatAreNotThereComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFixture(t)
		r.absent = errAbsent
		began := time.Now()
		l, err := newLights(tower, r.opener)
		if err != nil || time.Since(began) != 0 {
			t.Fatalf("the start took %v: %v", time.Since(began), err)
		}
		err = l.Check()
		if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "green line G") || !strings.Contains(err.Error(), "and 3 more") {
			t.Errorf("Check = %v", err)
		}
		if err := l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: time.Minute}); !errors.Is(err, drivers.ErrUnavailable) || time.Since(began) != 0 {
			t.Errorf("Show = %v after %v, want at once that it is not available", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		l.SetIdle(drivers.Red)
		r.set(func() { r.absent = nil })
		time.Sleep(lastRetry)
		if err := l.Check(); err != nil || r.high() != "R" {
			t.Errorf("with the lines there: Check = %v, lit %q, want red", err, r.high())
		}
		halt(t, r, l)
	})
}

func TestLightsLineLostAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := towerOf(t, tower)
		gone := errors.New("remote I/O error")
		r.set(func() { r.fail["G"] = gone })
		time.Sleep(refreshEvery)
		synctest.Wait()
		if err := l.Check(); !errors.Is(err, drivers.ErrLost) && !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "green line G: remote I/O error") {
			t.Errorf("an idle line that went away: Check = %v", err)
		}
		r.taken()
		if err := l.Show(t.Context(), drivers.Cue{Light: drivers.Red, Hold: time.Hour}); err == nil {
			t.Error("Show does not tell of the line that is lost")
		}
		if got := r.high(); got != "RB" {
			t.Errorf("lit %q: the lines that are there do not work", got)
		}
		if err := l.Show(t.Context(), drivers.Cue{Light: drivers.Green, Hold: 10 * time.Second}); !strings.Contains(err.Error(), "green line G") {
			t.Errorf("Show of the lost colour = %v", err)
		}
		r.set(func() { delete(r.fail, "G") })
		time.Sleep(lastRetry)
		if err := l.Check(); err != nil || r.high() != "G" {
			t.Errorf("back within the hold: Check = %v, lit %q, want green", err, r.high())
		}
		halt(t, r, l)
	})
}

func TestLightsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := towerOf(t, tower)
		hang := make(chan struct{})
		r.set(func() { r.hang = hang })
		began := time.Now()
		err := l.Show(context.Background(), drivers.Cue{Light: drivers.Green, Hold: time.Second})
		if !errors.Is(err, drivers.ErrUnavailable) || time.Since(began) >= time.Second {
			t.Errorf("Show = %v after %v", err, time.Since(began))
		}
		l.SetIdle(drivers.Red)
		l.SetIdle(drivers.Dark)
		time.Sleep(time.Second)
		if err := l.Check(); err == nil || !strings.Contains(err.Error(), "have not answered") {
			t.Errorf("Check = %v", err)
		}
		began = time.Now()
		if err := l.Halt(); err == nil || time.Since(began) > haltLimit {
			t.Errorf("Halt = %v after %v", err, time.Since(began))
		}
		close(hang)
		synctest.Wait()
		if got := r.high(); got != "" {
			t.Errorf("left %q on", got)
		}
		r.closedAll()
		if err := l.Show(context.Background(), drivers.Cue{}); !errors.Is(err, drivers.ErrUnavailable) {
			t.Errorf("Show after Halt = %v", err)
		}
	})
}

func TestLightsOptions(t *testing.T) {
	for rule, c := range map[string]struct {
		o    LightsOptions
		want string
	}{
		"a line serves one light":  {LightsOptions{Green: Line{Name: "G"}, Red: Line{Name: "G"}}, "used twice"},
		"something must be wired":  {LightsOptions{Name: "front"}, "no line"},
		"a buzzer alone is enough": {LightsOptions{Buzzer: Line{Name: "B"}}, ""},
	} {
		t.Run(rule, func(t *testing.T) {
			r := newFixture(t)
			l, err := newLights(c.o, r.opener)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || l != nil {
					t.Errorf("%v, %v, want an error with %q alone", l, err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			halt(t, r, l)
		})
	}
}
