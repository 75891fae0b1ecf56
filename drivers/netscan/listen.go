package netscan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Place is where a reader listens: on a loopback address, or on a socket in the file system.
type Place struct {
	Network string         // "tcp", "udp" or "unix"
	Address netip.AddrPort // of tcp and udp
	Path    string         // of unix, absolute
}

// maxPath is the longest path of a socket (sun_path of unix(7), with its end).
const maxPath = 107

// ParseListen reads what Options.Listen holds. It refuses every address that is not of this device alone: whoever can send to
// this socket can show codes to the gate.
func ParseListen(listen string) (Place, error) {
	const example = "write for example tcp://127.0.0.1:58627 or unix:///run/kipass/scan.sock"
	if path, ok := strings.CutPrefix(listen, "unix://"); ok {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || len(path) > maxPath || strings.ContainsRune(path, 0) {
			return Place{}, fmt.Errorf("%q has no absolute path of up to %d bytes: %s", listen, maxPath, example)
		}
		return Place{Network: "unix", Path: path}, nil
	}
	u, err := url.Parse(listen)
	switch {
	case err != nil || u.Scheme != "tcp" && u.Scheme != "udp" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return Place{}, fmt.Errorf("%q is no socket: %s", listen, example)
	case u.Port() == "":
		return Place{}, fmt.Errorf("%q has no port: %s", listen, example)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return Place{}, fmt.Errorf("%q has no port from 0 to 65535", listen)
	}
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !loopback(ip) {
		return Place{}, fmt.Errorf("%q is not on this device alone: use 127.0.0.1, [::1] or localhost", listen)
	}
	return Place{Network: u.Scheme, Address: netip.AddrPortFrom(ip, uint16(port))}, nil
}

// loopback tells whether ip is of this device alone; an IPv4-mapped IPv6 address counts as the IPv4 address.
func loopback(ip netip.Addr) bool { return ip.Unmap().WithZone("").IsLoopback() }

// listen opens the socket for connections.
func (r *Reader) listen() (net.Listener, error) {
	if r.place.Network == "tcp" {
		return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.place.Address))
	}
	return listenUnix(r.place.Path, r.opts.SocketMode, r.opts.SocketGroup)
}

var (
	errFolder = errors.New("others may write to its folder, and put a socket of their own there")
	errTaken  = errors.New("there is a file that is no socket")
	errGroup  = errors.New("it could not be given to the group")
)

// listenUnix opens a socket at path for those whom mode and group let in. Until it has both nobody else can connect.
func listenUnix(path string, mode fs.FileMode, group string) (_ net.Listener, err error) {
	gid := -1
	if group != "" {
		if gid, err = groupID(group); err != nil {
			return nil, err
		}
	}
	folder, err := os.Stat(filepath.Dir(path))
	switch {
	case err != nil:
		return nil, err
	case folder.Mode().Perm()&0o002 != 0 && folder.Mode()&fs.ModeSticky == 0:
		return nil, fmt.Errorf("%s: %w", filepath.Dir(path), errFolder)
	}
	if err := removeLeft(path); err != nil {
		return nil, err
	}
	// A socket takes over the permissions that its descriptor has when it is bound.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if outer := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); outer != nil {
			return outer
		}
		return err
	}}
	listener, err := closed.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if gid >= 0 {
		if err = os.Chown(path, -1, gid); err != nil {
			err = fmt.Errorf("%w %q: %w", errGroup, group, err)
		}
	}
	if err = errors.Join(err, os.Chmod(path, mode)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// removeLeft removes the socket of a gate that ended without doing so. One that somebody listens on stays.
func removeLeft(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errTaken
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return unix.EADDRINUSE
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q: %w", name, err)
	}
	return strconv.Atoi(g.Gid)
}
