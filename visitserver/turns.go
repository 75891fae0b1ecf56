package visitserver

import (
	"context"
	"sync"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
)

// maxOfGate is how many requests of one gate are read and wait for their turn at once. Further ones wait before they are
// read.
const maxOfGate = 4

// turns lets each gate have one request in work at a time, however many connections it has: a gate speaks one request
// after the other (protocol/wire/SPEC.md), and one that does not waits for itself and takes nothing from others.
type turns struct {
	mu    sync.Mutex
	gates map[terminalName]*turn
}

// turn is what the requests of one gate share; it is there while there are any.
type turn struct {
	users  int
	places chan struct{} // one for each request that is read
	work   chan struct{} // for the one in work
}

// enter takes a place for a request of a gate, waiting for it a little; leave gives it back.
func (t *turns) enter(ctx context.Context, name terminalName) (own *turn, leave func(), err error) {
	t.mu.Lock()
	own = t.gates[name]
	if own == nil {
		own = &turn{places: make(chan struct{}, maxOfGate), work: make(chan struct{}, 1)}
		if t.gates == nil {
			t.gates = map[terminalName]*turn{}
		}
		t.gates[name] = own
	}
	own.users++
	t.mu.Unlock()
	gone := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(t.gates, name)
		}
	}
	release, err := take(ctx, own.places, "too many requests of this gate at once; send one after the other")
	if err != nil {
		gone()
		return nil, nil, err
	}
	return own, func() { release(); gone() }, nil
}

// begin waits for the turn of a request that has a place.
func (t *turn) begin(ctx context.Context) (end func(), err error) {
	return take(ctx, t.work, "another request of this gate is in work; send again later")
}

// take puts a token into a channel, waiting for it for slotWait; release takes it out again. Whoever waits in vain is
// told why.
func take(ctx context.Context, c chan struct{}, why string) (release func(), err error) {
	release = func() { <-c }
	select {
	case c <- struct{}{}:
		return release, nil
	default:
	}
	wait := time.NewTimer(slotWait)
	defer wait.Stop()
	select {
	case c <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, httpserver.Busy.With(why)
	}
}
