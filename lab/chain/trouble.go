package chain

import (
	"context"
	"sync"
	"time"
)

// trouble knows when something was wrong with what the gate stands on, so that it may have refused whom it should
// admit.
type trouble struct {
	mu    sync.Mutex
	under int
	ended time.Time
}

// afterTrouble is how long after its end a fault may still be felt: by who waits, and until the gate has noticed.
const afterTrouble = 10 * time.Second

func (t *trouble) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.under++
}

func (t *trouble) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.under--
	t.ended = time.Now()
}

// since reports whether there was trouble at some time since then.
func (t *trouble) since(then time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.under > 0 || !t.ended.IsZero() && t.ended.Add(afterTrouble).After(then)
}

// delays are how long this program itself was held up, on a machine that is busy: the lab, too, sees late what is
// shown in time.
type delays struct {
	mu    sync.Mutex
	total time.Duration
}

const delayTick = 10 * time.Millisecond

// run measures until ctx ends.
func (d *delays) run(ctx context.Context) {
	tick := time.NewTicker(delayTick)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-tick.C:
			now := time.Now()
			d.mu.Lock()
			d.total += max(0, now.Sub(last)-delayTick)
			d.mu.Unlock()
			last = now
		case <-ctx.Done():
			return
		}
	}
}

func (d *delays) sum() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.total
}
