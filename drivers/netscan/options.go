// Package netscan takes codes from a scan service on the same device that delivers them over a socket, as those of Android
// hand-helds do. It listens on the loopback interface alone and talks to nobody else.
package netscan

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/kipass/kipass/drivers/framing"
)

// Options describes one listener. Name and Listen are required; the zero value of everything else is a working default.
type Options struct {
	Name string // the reader's name in the config, for example "front"
	// Listen is "unix:///run/kipass/scan.sock", "tcp://127.0.0.1:58627" or "udp://[::1]:58627"; loopback addresses and
	// localhost only; port 0 is any.
	Listen string

	// Users says by name or number whose programs may send, as far as the kernel tells; AnyUser is everybody. Empty is root, the
	// gate's own user and those of services; for a unix socket and on Android everybody who can connect.
	Users []string

	SocketMode  fs.FileMode // of a unix socket; 0 is 0660
	SocketGroup string      // of a unix socket; empty is that of the folder or the gate's own

	Framing framing.Rule // what ends a code and what is stripped from it; so does the end of a datagram, or of a connection closed in good order

	Connections int // how many there may be at a time over TCP; one more closes one that never sent, or the one silent for longest; 0 is 8
	Endless     int // bytes without a code after which a connection is closed; 0 is 16 MiB

	Logger *slog.Logger // nil discards
}

func (opts Options) withDefaults() (Options, error) {
	opts.Framing = opts.Framing.WithDefaults()
	opts.SocketMode = cmp.Or(opts.SocketMode, 0o660)
	opts.Connections = cmp.Or(opts.Connections, 8)
	opts.Endless = cmp.Or(opts.Endless, 16<<20)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Name == "" {
		return opts, errors.New("a socket reader needs a name")
	}
	if opts.SocketMode&^0o777 != 0 || opts.SocketMode&0o600 != 0o600 {
		return opts, fmt.Errorf("socket mode %#o is none: use for example 0660", uint32(opts.SocketMode))
	}
	if err := opts.Framing.Check(); err != nil {
		return opts, err
	}
	if opts.Connections < 0 || opts.Endless < 0 {
		return opts, errors.New("limits of connections and bytes are above 0")
	}
	return opts, nil
}
