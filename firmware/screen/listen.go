package screen

import (
	"context"
	"net"
	"strconv"

	"github.com/kipass/kipass/internal/peer"
)

// maxConns bounds the connections of all pages together. Those of one user's programs are a part of them: see
// httpserver.Options.Origin.
const maxConns = 1024

// ownedConn is a connection and whose program is at its other end.
type ownedConn struct {
	net.Conn
	owner string
}

// ownedListener asks of each connection whose it is. No user's programs take the place of another's, whatever they do: the
// visitor's screen runs in a browser, and other programs of the device may be of somebody else.
type ownedListener struct {
	net.Listener
	ownerOf func(net.Conn) string
}

func (l *ownedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &ownedConn{c, l.ownerOf(c)}, nil
}

// userOf names the user whose program has a connection. All of whom the kernel does not tell share one name.
func userOf(c net.Conn) string {
	uid, err := peer.User(c)
	if err != nil {
		return "unknown"
	}
	return strconv.FormatUint(uint64(uid), 10)
}

func ownerOf(c net.Conn) string { return c.(*ownedConn).owner }

type ownerKey struct{}

func withOwner(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, ownerKey{}, ownerOf(c))
}

// requester is whose program makes a request.
func requester(ctx context.Context) string {
	owner, _ := ctx.Value(ownerKey{}).(string)
	return owner
}

// loopback reports whether a host is this device alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
