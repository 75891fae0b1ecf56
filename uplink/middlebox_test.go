package uplink

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// middlebox stands between gate and server. It lets a connection through whose ClientHello comes in one segment.
type middlebox struct {
	network      *fixture
	segment      atomic.Int64 // bytes it carries at most
	silent       bool         // it says nothing to the others; else it ends them
	cut, through atomic.Int64
}

const (
	boxAddress = "box.test:443"
	anySize    = 1 << 14 // of a segment, that everything fits
	ethernet   = 1420    // of a segment, over a tunnel: less than the hybrid's ClientHello
)

// newMiddlebox returns a box between the fixture's gate and its server, which goes when the test ends.
func newMiddlebox(t *testing.T, f *fixture, segment int64) *middlebox {
	t.Helper()
	box := &middlebox{network: f}
	box.segment.Store(segment)
	l := f.listen(boxAddress)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { box.carry(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return box
}

// dial is for Options.Network.Dial.
func (m *middlebox) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return m.network.network.Dial(ctx, network, boxAddress)
}

func (m *middlebox) carry(gate net.Conn) {
	defer gate.Close()
	first := make([]byte, m.segment.Load())
	n, err := gate.Read(first)
	const header = 5 // of a TLS record, the last two its length (RFC 8446 section 5.1)
	if err != nil || n < header || n < header+int(binary.BigEndian.Uint16(first[header-2:])) {
		m.cut.Add(1)
		if m.silent {
			_, _ = io.Copy(io.Discard, gate)
		}
		return
	}
	m.through.Add(1)
	server, err := m.network.network.Dial(context.Background(), "tcp", serverAddress)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := server.Write(first[:n]); err != nil {
		return
	}
	var down sync.WaitGroup
	down.Go(func() {
		_, _ = io.Copy(gate, server)
		_ = gate.Close()
	})
	_, _ = io.Copy(server, gate)
	_ = server.Close()
	down.Wait()
}
