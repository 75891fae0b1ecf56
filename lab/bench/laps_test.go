package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestAt(t *testing.T) {
	var l laps
	for n := 100; n > 0; n-- {
		l = append(l, time.Duration(n)*time.Second)
	}
	for share, want := range map[float64]float64{0: 1, 0.5: 51, 0.95: 96, 0.99: 100, 1: 100} {
		if got := l.at(share); got != want {
			t.Errorf("at(%v) = %v s, want %v", share, got, want)
		}
	}
}

func TestOverIsTheMedianOfTheTurns(t *testing.T) {
	// The machine is ten times slower in the second half: each turn is held against its own neighbour.
	whole, bare := laps{2, 2, 2, 20, 20}, laps{1, 1, 1, 10, 10}
	if got := whole.over(bare); got != 2 {
		t.Errorf("%v, want 2", got)
	}
	if got := bare.over(whole); got != 0.5 {
		t.Errorf("%v, want 0.5", got)
	}
	f := comparedRates("x", "a/s", 10, laps{time.Second, time.Second}, laps{4 * time.Second, 2 * time.Second}, "b", atLeast(4, "w"))
	if f.Ours != 10 || *f.Bare != 2.5 || *f.Ratio != 4 || !f.OK {
		t.Errorf("%+v, bare %v, ratio %v", f, *f.Bare, *f.Ratio)
	}
}

// Over a whole cycle of orders each turn comes equally often at each place, and equally often behind each other turn.
func TestTurnsAreFair(t *testing.T) {
	for n := 1; n <= 3; n++ {
		place, behind := map[string]int{}, map[string]int{}
		for round := range 2 * n {
			before, seen := -1, map[int]bool{}
			for i := range n {
				k := turn(i, round, n)
				seen[k] = true
				place[fmt.Sprint(k, " at ", i)]++
				if before >= 0 {
					behind[fmt.Sprint(k, " behind ", before)]++
				}
				before = k
			}
			if len(seen) != n {
				t.Fatalf("round %d of %d turns takes only %v", round, n, seen)
			}
		}
		if len(place) != n*n || len(behind) != n*(n-1) {
			t.Errorf("%d turns: %d of %d places, %d of %d neighbours", n, len(place), n*n, len(behind), n*(n-1))
		}
		for _, counts := range []map[string]int{place, behind} {
			for what, times := range counts {
				for other, want := range counts {
					if times != want {
						t.Errorf("%d turns: %s %d times, %s %d times", n, what, times, other, want)
					}
				}
			}
		}
	}
}

func TestInterleave(t *testing.T) {
	const least = 20
	calls := 0
	took, err := interleave(t.Context(), 0, least,
		func() (time.Duration, error) { calls++; return time.Duration(calls), nil },
		func() (time.Duration, error) { return time.Second, nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(took[0]) < least || len(took[0]) != len(took[1]) || calls != len(took[0])+least/10 {
		t.Errorf("%d and %d laps of %d calls, want equally many, at least %d, and %d more calls", len(took[0]), len(took[1]), calls, least, least/10)
	}
	if first := took[0][0]; first != least/10+1 {
		t.Errorf("the first lap counted is of call %d, want %d: the warm-up does not count", first, least/10+1)
	}
	if took[1].median() != 1 {
		t.Errorf("a turn's own time is not taken: %v s", took[1].median())
	}

	broken := errors.New("broken")
	if _, err := interleave(t.Context(), time.Hour, least, func() (time.Duration, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("a turn that fails gives %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := interleave(ended, time.Hour, least, func() (time.Duration, error) { return 0, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v", err)
	}
}
