package sim

import (
	"flag"
	"os"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "play this seed alone")
	daysFlag  = flag.Int("days", 0, "days to play; 0 lets the seed draw them")
	traceFlag = flag.Bool("trace", false, "write what happens to standard error")
	logFlag   = flag.Bool("log", false, "write what the programs log to standard error")
	calmFlag  = flag.Bool("calm", false, "nothing goes wrong")
)

func play(t *testing.T, opts Options) (r Report) {
	t.Helper()
	cryptotest.SetGlobalRandom(t, opts.Seed)
	synctest.Test(t, func(t *testing.T) { r = Run(t, opts) })
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
	t.Logf("%+v", play(t, opts))
}
