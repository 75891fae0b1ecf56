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
	// silentShare is the part of all connections that those of one origin may hold without having sent a request, and
	// originShare the part they may hold at all. Behind one address may be a whole building.
	silentShare = 32
	originShare = 4
)

// connections bounds how many connections there are, and keeps those that say nothing from shutting others out: whoever
// comes takes the place of the one that has been silent longest, first of its own origin, then of all. A connection is
// silent until its first request's header is read. Those between two requests go after the silent ones, those at work never:
// if all are, whoever comes is closed.
type connections struct {
	max, maxSilent, maxOrigin int
	originOf                  func(net.Conn) string

	mu      sync.Mutex
	all     map[net.Conn]*connection
	silent  list.List // of *connection, oldest in front
	idle    list.List
	origins map[string]*origin // those that have connections
}

type connection struct {
	conn   net.Conn
	origin *origin
	in     *list.List // silent or idle; nil for one at work
	place  *list.Element
}

// origin is whose connections some are.
type origin struct {
	name   string
	count  int
	silent int
}

func newConnections(max int, originOf func(net.Conn) string) *connections {
	if max == 0 {
		max = defaultMaxConns
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur > spareFiles && limit.Cur < 1<<30 {
			max = min(max, int(limit.Cur)-spareFiles)
		}
	}
	return &connections{
		max: max, maxSilent: maxOne(max / silentShare), maxOrigin: maxOne(max / originShare), originOf: originOf,
		all: map[net.Conn]*connection{}, origins: map[string]*origin{},
	}
}

func maxOne(n int) int { return max(n, 1) }

// addressOf is the address of a connection's other end, an IPv4 address or an IPv6 network of 64 bits; "" for all that have
// none, as a pipe.
func addressOf(c net.Conn) string {
	a, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	bits := 64
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
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
	name := c.originOf(conn)
	o := c.origins[name]
	if o == nil {
		o = &origin{name: name}
		c.origins[name] = o
	}
	n := &connection{conn: conn, origin: o}
	c.all[conn] = n
	o.count++
	c.move(n, &c.silent)
	own := func(other *connection) bool { return other.origin == o }
	if name != "" && o.silent > c.maxSilent {
		c.evict(n, own, &c.silent)
	}
	if name != "" && o.count > c.maxOrigin {
		c.evict(n, own, &c.silent, &c.idle)
	}
	if len(c.all) > c.max {
		c.evict(n, func(*connection) bool { return true }, &c.silent, &c.idle)
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
		n.origin.silent--
	}
	if n.in = to; to == nil {
		return
	}
	n.place = to.PushBack(n)
	if to == &c.silent {
		n.origin.silent++
	}
}

// evict closes the connection that has been in the first of the lists for longest, or, if there is none but the newcomer,
// that. That it is closed is noticed later: here it is forgotten at once.
func (c *connections) evict(newcomer *connection, which func(*connection) bool, lists ...*list.List) {
	gone := newcomer
search:
	for _, l := range lists {
		for e := l.Front(); e != nil; e = e.Next() {
			if n := e.Value.(*connection); n != newcomer && which(n) {
				gone = n
				break search
			}
		}
	}
	c.forget(gone)
	_ = rawConn(gone.conn).Close()
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
	if n.origin.count--; n.origin.count == 0 {
		delete(c.origins, n.origin.name)
	}
}
