// Package netscan takes codes from a scan service on the same device that delivers them over a socket, as those of Android
// hand-helds do. It listens on the loopback interface alone and talks to nobody else.
package netscan

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/kipass/kipass/drivers/framing"
)

// Options describes one listener. Name and Listen are required; the zero value of everything else is a working default.
type Options struct {
	Name   string // the reader's name in the config, for example "front"
	Listen string // "tcp://127.0.0.1:58627" or "udp://[::1]:58627"; loopback addresses and localhost only; port 0 is any

	Framing framing.Rule // what ends a code and what is stripped from it; so does the end of a datagram, or of a connection closed in good order

	Connections int // how many there may be at a time over TCP; one more closes the one silent for longest; 0 is 8
	Endless     int // bytes without a code after which a connection is closed; 0 is 16 MiB

	Logger *slog.Logger // nil discards
}

func (opts Options) withDefaults() (Options, error) {
	opts.Framing = opts.Framing.WithDefaults()
	opts.Connections = cmp.Or(opts.Connections, 8)
	opts.Endless = cmp.Or(opts.Endless, 16<<20)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Name == "" {
		return opts, errors.New("a socket reader needs a name")
	}
	if _, _, err := ParseListen(opts.Listen); err != nil {
		return opts, err
	}
	if err := opts.Framing.Check(); err != nil {
		return opts, err
	}
	if opts.Connections < 0 || opts.Endless < 0 {
		return opts, errors.New("limits of connections and bytes are above 0")
	}
	return opts, nil
}

// ParseListen reads what Options.Listen holds: the network, "tcp" or "udp", and a loopback address. It refuses every other
// address: whoever can send to this socket can show codes to the gate.
func ParseListen(listen string) (network string, at netip.AddrPort, err error) {
	const example = "write for example tcp://127.0.0.1:58627"
	u, err := url.Parse(listen)
	switch {
	case err != nil || u.Scheme != "tcp" && u.Scheme != "udp" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return "", at, fmt.Errorf("%q is no socket: %s", listen, example)
	case u.Port() == "":
		return "", at, fmt.Errorf("%q has no port: %s", listen, example)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return "", at, fmt.Errorf("%q has no port from 0 to 65535", listen)
	}
	host := u.Hostname()
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !loopback(ip) {
		return "", at, fmt.Errorf("%q is not on this device alone: use 127.0.0.1, [::1] or localhost", listen)
	}
	return u.Scheme, netip.AddrPortFrom(ip, uint16(port)), nil
}

// loopback tells whether ip is of this device alone; an IPv4-mapped IPv6 address counts as the IPv4 address.
func loopback(ip netip.Addr) bool { return ip.Unmap().WithZone("").IsLoopback() }
