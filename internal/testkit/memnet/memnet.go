// Package memnet is a network in memory for tests in synthetic time (testing/synctest). A goroutine that waits for a real
// socket keeps a bubble's time from moving on; one that waits here does not, so TLS and HTTP run in a bubble whole. As
// with TCP, a write returns before its bytes are read, and what was written before a close can still be read after it.
package memnet

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// maxBacklog is how many connections wait to be accepted; more are refused.
const maxBacklog = 128

// Network connects those who dial with those who listen. Make one inside the bubble it is used in.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	dialled   int // for the addresses of dialling ends
}

// New returns a network on which nobody listens yet.
func New() *Network { return &Network{listeners: map[string]*listener{}} }

// Listen accepts connections to an address, "host:port". Only one listener has an address at a time.
func (n *Network) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: addr(address), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &listener{network: n, address: addr(address), backlog: make(chan net.Conn, maxBacklog)}
	n.listeners[address] = l
	return l, nil
}

// Dial connects to whoever listens at an address; the connection is made before it is accepted. It has the form of
// [net.Dialer.DialContext] and, like it, reports a refused connection as ECONNREFUSED.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr(address), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[address]
	if l == nil || len(l.backlog) == maxBacklog {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	n.dialled++
	client, server := newConns(addr("client:"+strconv.Itoa(n.dialled)), l.address)
	l.backlog <- server // does not block: only Dial sends, under the lock
	return client, nil
}

type listener struct {
	network *Network
	address addr
	backlog chan net.Conn // closed with the listener, under the network's lock
}

func (l *listener) Accept() (net.Conn, error) {
	c, ok := <-l.backlog
	if !ok {
		return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.address, Err: net.ErrClosed}
	}
	return c, nil
}

// Close ends the connections that were never accepted; accepted ones live on.
func (l *listener) Close() error {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if l.network.listeners[string(l.address)] != l {
		return &net.OpError{Op: "close", Net: "mem", Addr: l.address, Err: net.ErrClosed}
	}
	delete(l.network.listeners, string(l.address))
	close(l.backlog)
	for c := range l.backlog {
		_ = c.Close()
	}
	return nil
}

func (l *listener) Addr() net.Addr { return l.address }

// addr is "host:port".
type addr string

func (addr) Network() string  { return "mem" }
func (a addr) String() string { return string(a) }
