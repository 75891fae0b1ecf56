package chain

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// network is the line between gate and visit server: a TCP forwarder on loopback that can be cut in two ways.
type network struct {
	address string // where the gate connects
	server  string

	mu       sync.Mutex
	listener net.Listener
	silent   bool
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// newNetwork listens on a free loopback port and forwards to server ("host:port").
func newNetwork(server string) (*network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n := &network{address: l.Addr().String(), server: server, conns: map[net.Conn]bool{}}
	n.accept(l)
	return n, nil
}

func (n *network) accept(l net.Listener) {
	n.listener = l
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.wg.Go(func() { n.forward(c) })
		}
	})
}

func (n *network) forward(gate net.Conn) {
	defer n.drop(gate)
	if !n.keep(gate) {
		return
	}
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return
	}
	defer n.drop(server)
	if !n.keep(server) {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		n.copy(gate, server)
		gate.Close()
	}()
	n.copy(server, gate)
	server.Close()
	<-back
}

// copy forwards bytes until one end is closed; while the network is silent it swallows them.
func (n *network) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		silent := n.silent
		n.mu.Unlock()
		if silent {
			continue
		}
		if _, err := to.Write(buf[:k]); err != nil {
			return
		}
	}
}

func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		return false
	}
	n.conns[c] = true
	return true
}

func (n *network) drop(c net.Conn) {
	c.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// silence swallows everything from now on: connections stand, no answer comes.
func (n *network) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = true
}

// refuse closes every connection and refuses new ones.
func (n *network) refuse() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener.Close()
	for c := range n.conns {
		c.Close()
	}
}

// restore lets everything through again, at the same address.
func (n *network) restore(ctx context.Context) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", n.address)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = false
	n.accept(l)
	return nil
}

// close ends the forwarder and waits for its goroutines.
func (n *network) close() {
	n.mu.Lock()
	n.listener.Close()
	for c := range n.conns {
		c.Close()
	}
	n.conns = nil
	n.mu.Unlock()
	n.wg.Wait()
}
