package firmware_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/firmware"
	"github.com/kipass/kipass/firmware/clock"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/firmware/journal"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/token"
	"github.com/kipass/kipass/protocol/visit"
)

const (
	fullPace  = 17 * time.Millisecond // what a code of 200 bytes takes at 115200 baud: no serial reader is faster
	roundSize = 100                   // codes a lane reads in a round
)

// lane is a reader that delivers codes at full pace when told to, and the lane's lights, which keep how long after its
// last byte each code's cue was handed to them.
type lane struct {
	name   string
	key    ed25519.PrivateKey
	rounds chan int

	mu     sync.Mutex
	serial uint64
	waits  []time.Duration
	green  int
}

func (l *lane) Run(ctx context.Context, emit func(drivers.Read)) error {
	for {
		select {
		case n := <-l.rounds:
			phase := time.NewTimer(rand.N(fullPace)) // visitors of two lanes know nothing of each other
			select {
			case <-phase.C:
			case <-ctx.Done():
			}
			pace := time.NewTicker(fullPace)
			for range n {
				code, err := l.next()
				if err != nil {
					return err
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
				emit(drivers.Read{Data: code, At: time.Now(), Reader: l.name})
			}
			pace.Stop()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next signs a code no other has the number of.
func (l *lane) next() ([]byte, error) {
	l.serial++
	cti := token.CTI{l.name[0]}
	for i := range 8 {
		cti[1+i] = byte(l.serial >> (8 * i))
	}
	code, err := token.Sign(l.key, "naver", time.Now(), cti)
	return []byte(code), err
}

func (l *lane) Show(_ context.Context, c drivers.Cue) error {
	wait := time.Since(c.Began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = append(l.waits, wait)
	if c.Light == drivers.Green {
		l.green++
	}
	return nil
}

func (l *lane) Check() error   { return nil }
func (l *lane) Halt() error    { return nil }
func (l *lane) String() string { return l.name }

// taken returns the waits since it was last called.
func (l *lane) taken() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits := l.waits
	l.waits = nil
	return waits
}

// done counts the codes that have an outcome.
type done chan struct{}

func (d done) Show(visit.Outcome, string, time.Duration, time.Time) { d <- struct{}{} }

type naver struct{ key token.IssuerKey }

func (n naver) Key(kid token.KID) (token.IssuerKey, bool) {
	return n.key, kid == token.KeyID(n.key.Public)
}
func (naver) Stale(time.Time) bool { return false }

type rightClock struct{}

func (rightClock) Read() clock.Reading {
	return clock.Reading{Now: time.Now(), State: visit.ClockSynced, Skew: 2 * time.Second}
}
func (rightClock) Evidence(string, time.Time, time.Duration) {}
func (rightClock) MayBeFresh(string, time.Time) bool         { return true }

// BenchmarkTwoLanes takes turns: a round with one lane at full pace, a round with two, on one gate with a real journal.
// The figure to hold is two/one, the p99 of the time from a code's last byte to its cue with both lanes at work over that
// with one. Each p99 is the median of the rounds' own, so that a moment in which the machine did something else does not
// decide.
func BenchmarkTwoLanes(b *testing.B) {
	pub, key, err := ed25519.GenerateKey(nil)
	testkit.Check(b, err)
	seal, err := visit.ParseSealPrivateKey(bytes.Repeat([]byte{7}, 32))
	testkit.Check(b, err)
	store, err := journal.Open(journal.Options{
		Dir: filepath.Join(b.TempDir(), "journal"), Facility: "cafe", Gate: "door", SealKey: seal.Public(), FreeFloor: 1,
	})
	testkit.Check(b, err)
	silent := slog.New(slog.DiscardHandler)
	front := &lane{name: "front", key: key, rounds: make(chan int)}
	side := &lane{name: "side", key: key, rounds: make(chan int)}
	judged := make(done, 4*roundSize)
	gate := firmware.New(firmware.Options{
		Readers:    []drivers.Reader{front, side},
		Indicators: []firmware.Lane{{Indicator: front, Reader: "front"}, {Indicator: side, Reader: "side"}},
		Display:    judged, Trust: naver{token.IssuerKey{Issuer: "naver", Public: pub, NotAfter: time.Unix(1<<40, 0)}}, Clock: rightClock{}, Languages: []string{"ko"},
		Board: health.NewBoard(time.Now, silent), Logger: silent,
	})
	gate.Use(store)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- gate.Run(ctx) }()

	round := func(lanes ...*lane) {
		for _, l := range lanes {
			l.rounds <- roundSize
		}
		for range len(lanes) * roundSize {
			<-judged
		}
	}
	round(front, side) // opens files, makes the first epoch
	_, _ = front.taken(), side.taken()
	var one, two, oneP99, twoP99 []time.Duration
	for b.Loop() {
		round(front)
		alone := front.taken()
		round(front, side)
		both := append(front.taken(), side.taken()...)
		one, two = append(one, alone...), append(two, both...)
		oneP99, twoP99 = append(oneP99, percentile(alone, 99)), append(twoP99, percentile(both, 99))
	}
	stop()
	testkit.Check(b, errors.Join(<-ended, store.Close()))
	if want := roundSize * (2*b.N + 1); front.green < want*98/100 || side.green < roundSize*(b.N+1)*98/100 {
		b.Errorf("%d and %d green cues, want nearly all of %d and %d", front.green, side.green, want, roundSize*(b.N+1))
	}
	b.ReportMetric(ms(percentile(one, 50)), "one-p50-ms")
	b.ReportMetric(ms(percentile(two, 50)), "two-p50-ms")
	b.ReportMetric(ms(percentile(oneP99, 50)), "one-p99-ms")
	b.ReportMetric(ms(percentile(twoP99, 50)), "two-p99-ms")
	b.ReportMetric(float64(percentile(twoP99, 50))/float64(percentile(oneP99, 50)), "two/one")
}

func percentile(waits []time.Duration, p int) time.Duration {
	slices.Sort(waits)
	return waits[(len(waits)-1)*p/100]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
