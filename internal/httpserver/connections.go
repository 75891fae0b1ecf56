package httpserver

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	defaultMaxConns = 8192
	// spareFiles are descriptors that are left to what is served.
	spareFiles = 256
	// silentShare is the part of all connections that one address may hold without having sent a request, and addressShare
	// the part it may hold at all. Behind one address may be a whole building.
	silentShare  = 32
	addressShare = 4
)

// connections bounds how many connections there are, and keeps those that say nothing from shutting others out: whoever
// comes takes the place of the one that has been silent longest, first of its own address, then of all. A connection is
// silent until its first request's header is read. Those between two requests go after the silent ones.
type connections struct {
	max, maxSilent, maxAddress int

	mu        sync.Mutex
	all       map[net.Conn]*connection
	silent    list.List // of *connection, oldest in front
	idle      list.List
	addresses map[netip.Prefix]*address
}

type connection struct {
	conn    net.Conn
	address *address
	prefix  netip.Prefix
	in      *list.List // silent or idle; nil for one at work
	place   *list.Element
}

// address is who has connections, an IPv4 address or an IPv6 network of 64 bits.
type address struct {
	count  int
	silent int
}

func newConnections(max int) *connections {
	if max == 0 {
		max = defaultMaxConns
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur > spareFiles && limit.Cur < 1<<30 {
			max = min(max, int(limit.Cur)-spareFiles)
		}
	}
	return &connections{
		max: max, maxSilent: maxOne(max / silentShare), maxAddress: maxOne(max / addressShare),
		all: map[net.Conn]*connection{}, addresses: map[netip.Prefix]*address{},
	}
}

func maxOne(n int) int { return max(n, 1) }

// prefixOf is the address of a connection's other end; the zero prefix stands for all that have none, as a pipe.
func prefixOf(c net.Conn) netip.Prefix {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// state is for http.Server.ConnState, which tells of a new connection before the next one is accepted.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.add(conn)
	case http.StateActive:
		c.move(c.all[conn], nil)
	case http.StateIdle:
		c.move(c.all[conn], &c.idle)
	case http.StateClosed, http.StateHijacked:
		c.forget(c.all[conn])
	}
}

func (c *connections) add(conn net.Conn) {
	prefix := prefixOf(conn)
	a := c.addresses[prefix]
	if a == nil {
		a = &address{}
		c.addresses[prefix] = a
	}
	n := &connection{conn: conn, address: a, prefix: prefix}
	c.all[conn] = n
	a.count++
	c.move(n, &c.silent)
	own := func(other *connection) bool { return other.address == a }
	if prefix.IsValid() && a.silent > c.maxSilent {
		c.evict(own, &c.silent)
	}
	if prefix.IsValid() && a.count > c.maxAddress {
		c.evict(own, &c.silent, &c.idle)
	}
	if len(c.all) > c.max {
		c.evict(func(*connection) bool { return true }, &c.silent, &c.idle)
	}
}

// move puts a connection behind those of a list, nil for none.
func (c *connections) move(n *connection, to *list.List) {
	if n == nil {
		return
	}
	if n.in != nil {
		n.in.Remove(n.place)
	}
	if n.in == &c.silent {
		n.address.silent--
	}
	if n.in = to; to == nil {
		return
	}
	n.place = to.PushBack(n)
	if to == &c.silent {
		n.address.silent++
	}
}

// evict closes the connection that has been in the first of the lists for longest. That it is closed is noticed later:
// here it is forgotten at once.
func (c *connections) evict(which func(*connection) bool, lists ...*list.List) {
	for _, l := range lists {
		for e := l.Front(); e != nil; e = e.Next() {
			n := e.Value.(*connection)
			if !which(n) {
				continue
			}
			c.forget(n)
			_ = rawConn(n.conn).Close()
			return
		}
	}
}

// rawConn is what lies under TLS: closing that does not wait for a handshake.
func rawConn(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

func (c *connections) forget(n *connection) {
	if n == nil || c.all[n.conn] != n {
		return
	}
	c.move(n, nil)
	delete(c.all, n.conn)
	if n.address.count--; n.address.count == 0 {
		delete(c.addresses, n.prefix)
	}
}
