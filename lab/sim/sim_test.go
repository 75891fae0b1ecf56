package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"

	"github.com/kipass/kipass/firmware/health"
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

// withoutRace skips what plays many days: under the race detector they take minutes, and show nothing that few do not.
func withoutRace(t *testing.T) {
	t.Helper()
	if testkit.Race {
		t.Skip("it takes minutes under the race detector: make test plays it without")
	}
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

// TestSeeds plays a handful of seeds, one of them over mutual TLS with three gates, one with certificates that live for days;
// make sim plays many.
func TestSeeds(t *testing.T) {
	for _, opts := range []Options{{Seed: 1, Days: 5}, {Seed: 2, Days: 31}, {Seed: 3, Days: 5, Gates: 2}, {Seed: 20, Days: 2}, {Seed: 15, Days: 12}} {
		t.Run(fmt.Sprint(opts.Seed), func(t *testing.T) {
			if opts.Days > 10 {
				withoutRace(t)
			}
			if r := play(t, opts); r.Green == 0 || r.Stored == 0 || r.Complete == 0 || opts.Days > 30 && r.Destroyed == 0 || opts.Seed == 15 && r.Certificates < 3 {
				t.Errorf("nothing much happened: %+v", r)
			}
		})
	}
}

// TestNothingSoundsWhileNothingIsWrong plays weeks in which nothing is done to anybody: beside a gate's first moments before
// it is enrolled, and three old screenshots in a row, there is nothing to alarm anybody about.
func TestNothingSoundsWhileNothingIsWrong(t *testing.T) {
	withoutRace(t)
	r := play(t, Options{Seed: 6, Days: 31, Calm: true})
	for code, n := range r.Alarms {
		if code != string(health.NotEnrolled) && code != string(health.AllRefused) {
			t.Errorf("%s sounds %d times", code, n)
		}
	}
	if r.Green == 0 {
		t.Error("nobody came")
	}
}

// TestASeedIsOneRun plays a seed twice, and everything happens again at the same moment.
func TestASeedIsOneRun(t *testing.T) {
	withoutRace(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one order of goroutines
	var first, second strings.Builder
	run(t, Options{Seed: 5, Days: 4, Trace: &first})
	run(t, Options{Seed: 5, Days: 4, Trace: &second})
	if first.String() != second.String() || first.Len() == 0 {
		a, b := strings.Split(first.String(), "\n"), strings.Split(second.String(), "\n")
		for n := range min(len(a), len(b)) {
			if a[n] != b[n] {
				t.Fatalf("the runs part at line %d:\n%s\n%s", n+1, a[n], b[n])
			}
		}
		t.Fatalf("one run has %d lines, the other %d", len(a), len(b))
	}
}

// TestEveryPromiseCanBreak breaks one part after the other, and sees the run tell which promise does not hold.
func TestEveryPromiseCanBreak(t *testing.T) {
	withoutRace(t)
	for broken, c := range map[Sabotage]struct {
		days int
		says string
	}{
		lyingDisk:        {1, "are stored"},
		forgetfulStore:   {2, "are not found"},
		doubleStore:      {2, "are stored"},
		hastyServer:      {2, "too early"},
		noDestroyer:      {33, "visit server still has the key .* too late(?s:.*)visit server still has the data .* too late"},
		slowLamp:         {1, "after the code was read"},
		deadLamp:         {2, "without an answer"},
		forgetfulGate:    {1, "opens for one code twice"},
		doubleLamp:       {1, "opens for one code twice"},
		redLamp:          {2, "refuses a fresh code"},
		greenLamp:        {4, "for a foreign code(?s:.*)green for a code"},
		stubbornStore:    {1, "not everything is delivered"},
		lazyIssuers:      {33, "issuer .* still has the key .* too late(?s:.*)issuer .* still has the data .* too late"},
		silentList:       {6, "are not found, and the list calls itself complete"},
		timidList:        {1, "an inquiry is not complete"},
		mutedAlarm:       {1, `does not show .offline.`},
		mutedDoubt:       {3, "clock is off by .* and it does not tell"},
		falseAlert:       {1, `has an alert without a cause: .*gap`},
		falseAlarm:       {1, "shows reader-garbled .* without a cause"},
		wrongHolder:      {2, "were not there"},
		hoardingGate:     {32, "gate-0 still shows a visit"},
		sparedKey:        {32, "visit server still has the key"},
		staleLists:       {4, "green for a foreign code"},
		hastyIssuer:      {3, "refuses a fresh code"},
		secretWipe:       {5, "are stored"},
		blindOperator:    {4, "nobody is told that there are two"},
		lostRenewals:     {3, "has a certificate that ran out"},
		toughGate:        {4, "green though it is revoked"},
		deafGates:        {3, "are stored"},
		blindIssuers:     {3, "issuer naver tells of 0 damaged days, and lost something of 1"},
		falseDamage:      {1, "issuer naver tells of 1 damaged days without a cause"},
		mutedIssuerDoubt: {3, "issuer naver's clock is off by .* and it does not tell"},
		mutedOverdue:     {33, "issuer naver keeps .* past its end, and does not tell"},
		mutedSpace:       {1, "issuer naver says that it issues codes, and issues none"},
		falseEnd:         {1, "issuer naver says that it issues no codes, and does"},
		mutedEnd:         {1, "issuer naver's keys end .* and it does not tell"},
		chattyIssuer:     {1, "readable on its disk: holders"},
	} {
		t.Run(string(broken), func(t *testing.T) {
			r := run(t, Options{Seed: 1, Days: c.days, Calm: true, Sabotage: broken})
			if !regexp.MustCompile(c.says).MatchString(strings.Join(r.Broken, "\n")) {
				t.Errorf("nothing broken says %q: %v", c.says, r.Broken)
			}
		})
	}
}
