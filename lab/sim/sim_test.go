package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"

	"github.com/kipass/kipass/internal/testkit"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this seed alone")
	daysFlag  = flag.Int("days", 0, "days to play; 0 lets the seed draw them")
	traceFlag = flag.Bool("trace", false, "write what happens to standard error")
	logFlag   = flag.Bool("log", false, "write what the programs log to standard error")
	calmFlag  = flag.Bool("calm", false, "nothing goes wrong")
)

// run plays a run in a bubble.
func run(t *testing.T, opts Options) (r Report) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, opts.Seed)
	synctest.Test(t, func(t *testing.T) { r = Run(t, opts) })
	return r
}

// play plays a run in which no promise may break.
func play(t *testing.T, opts Options) Report {
	t.Helper()
	r := run(t, opts)
	for _, b := range r.Broken {
		t.Errorf("seed %d: %s", opts.Seed, b)
	}
	return r
}

// TestSeed plays one seed, given by a flag.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no seed is given: -seed=N")
	}
	opts := Options{Seed: *seedFlag, Days: *daysFlag, Calm: *calmFlag}
	if *traceFlag {
		opts.Trace = os.Stderr
	}
	if *logFlag {
		opts.Log = os.Stderr
	}
	line, err := json.Marshal(play(t, opts))
	testkit.Check(t, err)
	fmt.Printf("REPORT %s\n", line) // for package seeds
}

// TestEveryPromiseCanBreak breaks one part after the other, and sees the run tell which promise does not hold.
func TestEveryPromiseCanBreak(t *testing.T) {
	for broken, c := range map[Sabotage]struct {
		days int
		says string
	}{
		lyingDisk:      {1, "are stored"},
		forgetfulStore: {2, "are not found"},
		doubleStore:    {2, "are stored"},
		hastyServer:    {2, "too early"},
		noDestroyer:    {33, "too late"},
		slowLamp:       {1, "after the code was read"},
		deadLamp:       {2, "without an answer"},
		doubleLamp:     {1, "opens for one code twice"},
		wrongHolder:    {2, "were not there"},
	} {
		t.Run(string(broken), func(t *testing.T) {
			r := run(t, Options{Seed: 1, Days: c.days, Calm: true, Sabotage: broken})
			if !regexp.MustCompile(c.says).MatchString(strings.Join(r.Broken, "\n")) {
				t.Errorf("nothing broken says %q: %v", c.says, r.Broken)
			}
		})
	}
}
