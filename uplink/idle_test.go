package uplink

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectionIsKeptWhileBusyAndClosedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0).enrolled()
		var open atomic.Int32
		u := f.uplink(func(opts *Options) {
			opts.Network.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := f.network.Dial(ctx, network, address)
				if err == nil {
					open.Add(1)
					c = counted{c, sync.OnceFunc(func() { open.Add(-1) })}
				}
				return c, err
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- u.Run(ctx) }()
		for range 60 { // busy for two minutes: a scan every 2 s
			f.journal.append(1)
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if counts := f.server.Counts(); counts.Connections != 1 || open.Load() != 1 || counts.Visits != 60 {
			t.Errorf("%d connections are open; server: %+v", open.Load(), counts)
		}
		time.Sleep(idleClose + time.Second)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("%d connections open after %v idle", open.Load(), idleClose)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// counted is a connection that is counted while open.
type counted struct {
	net.Conn
	closed func()
}

func (c counted) Close() error {
	c.closed()
	return c.Conn.Close()
}
