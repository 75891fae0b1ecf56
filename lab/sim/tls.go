package sim

import (
	"context"
	"net"
	"sync"

	"github.com/kipass/kipass/internal/testkit/memnet"
)

// dial reaches a network through the weather: of what happens to requests only that nothing gets through.
func (n *weather) dial(through *memnet.Network) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		on := n.draw()
		if err := pass(ctx, on.delay); err != nil {
			return nil, err
		}
		if on.down || on.portal {
			return nil, errNoRoute
		}
		return through.Dial(ctx, network, address)
	}
}

// cutListener is a listener whose connections all end when the power is cut.
type cutListener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, c)
	return c, nil
}

func (l *cutListener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	_ = l.Listener.Close()
}
