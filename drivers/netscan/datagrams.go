package netscan

import (
	"context"
	"fmt"
	"net"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/peer"
)

// serveDatagrams takes codes over UDP until ctx ends or the socket fails. A datagram's end ends a code.
func (r *Reader) serveDatagrams(ctx context.Context, allowed senders, frame func(framing.Frame)) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(r.place.Address))
	if err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrUnavailable, explain(r.opts.Listen, err))
	}
	shut := func() { _ = conn.Close() }
	defer shut()
	defer device.WhenDone(ctx, shut)()
	r.opened(conn.LocalAddr())
	buf := make([]byte, 1<<16) // no datagram is larger
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("%w: reading %s: %w", drivers.ErrLost, r.opts.Listen, err)
		}
		if !loopback(from.Addr()) {
			r.turnAway(hostWords)
			continue
		}
		if judge(buf[:n]) == browses {
			r.turnAway(webWords)
			continue
		}
		if words := allowed.refuse(func() (uint32, error) { return peer.Sender(from) }); words != "" {
			r.turnAway(words)
			continue
		}
		f := framing.New(r.opts.Framing)
		f.Push(r.now(), buf[:n], frame)
		f.End(frame)
	}
}
