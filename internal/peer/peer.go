// Package peer tells whose program is at the other end of a connection on this device, or has sent a datagram. The kernel
// says so in three ways: of sockets in the file system when they are asked (unix(7)), of one TCP connection in some
// microseconds however many others there are (sock_diag(7)), and of all sockets in a table (/proc/net). The table is for what
// sock_diag does not tell: the kernels of Raspberry Pi OS have none for UDP (INET_UDP_DIAG), and any may lack the module.
package peer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUntold means that the kernel does not say whose it is: the other end is closed already, is on another device, or this
// system shows no program the connections of others, as Android since version 10.
var ErrUntold = errors.New("the kernel does not tell whose program it is")

// User returns the number of the user whose program has the other end of a connection: of TCP, or of a socket in the file
// system, whose user stays known after the other end was closed. Errors wrap [ErrUntold].
func User(conn net.Conn) (uint32, error) {
	if c, ok := conn.(*net.UnixConn); ok {
		return userOfUnix(c)
	}
	remote, okRemote := conn.RemoteAddr().(*net.TCPAddr)
	local, okLocal := conn.LocalAddr().(*net.TCPAddr)
	if !okRemote || !okLocal {
		return 0, ErrUntold
	}
	from, to := remote.AddrPort(), local.AddrPort()
	if uid, err := ownerOfTCP(from, to); err == nil {
		return uid, nil
	}
	return inTable("tcp", from, func(other netip.AddrPort) bool { return other == unmapped(to) })
}

// Sender returns the number of the user whose program has the UDP socket at the address from which a datagram came. Errors
// wrap [ErrUntold].
func Sender(from netip.AddrPort) (uint32, error) {
	return inTable("udp", from, func(netip.AddrPort) bool { return true })
}

func unmapped(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// userOfUnix asks for the user who connected (SO_PEERCRED of unix(7)).
func userOfUnix(c syscall.Conn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUntold, err)
	}
	var credentials *unix.Ucred
	var refused error
	err = raw.Control(func(fd uintptr) {
		credentials, refused = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, refused); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUntold, err)
	}
	return credentials.Uid, nil
}
