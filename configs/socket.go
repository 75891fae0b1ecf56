package configs

import (
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// anyUser in a reader's users lets every program of the device send.
const anyUser = "any"

// maxSocketPath is the longest path of a socket in bytes (unix(7)).
const maxSocketPath = 107

func (c *check) socket(path string, r Reader) {
	c.foreign(path, r, "serial", "baud", "model", "trigger", "light", "commands")
	if r.Device != "" {
		c.add(path+".device", "is for readers of kind \"serial\" and \"evdev\"; this one is %q", r.Kind)
	}
	c.users(path+".users", r.Users)
	const key, example = ".listen", "\"tcp://127.0.0.1:58627\" or \"unix:///run/kipass/scan.sock\""
	network, address, found := strings.Cut(r.Listen, "://")
	switch {
	case r.Listen == "":
		c.add(path+key, "is missing; write where the scan service sends, such as %s", example)
	case found && network == "unix":
		c.socketFile(path+key, address)
	case found && (network == "tcp" || network == "udp"):
		c.loopback(path+key, address, "127.0.0.1:58627", "who can send to it can show codes")
	default:
		c.add(path+key, "is %q, must begin with tcp://, udp:// or unix://, such as %s", r.Listen, example)
	}
	if network == "unix" {
		return
	}
	for _, key := range []string{".socket_mode", ".socket_group"} {
		if c.has(path + key) {
			c.add(path+key, "is for a socket of the file system, listen = \"unix://…\"; this one listens on %q", r.Listen)
		}
	}
}

// socketFile checks the path of a socket.
func (c *check) socketFile(key, path string) {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsFunc(path, unicode.IsControl):
		c.add(key, "has the path %q, must be an absolute one such as \"unix:///run/kipass/scan.sock\"", path)
	case len(path) > maxSocketPath:
		c.add(key, "has a path of %d bytes, may be %d", len(path), maxSocketPath)
	}
}

// users checks the names of users. Whether there are such users is known where the gate runs, when it starts.
func (c *check) users(key string, users []string) {
	for i, name := range users {
		switch {
		case name == "" || len(name) > maxLine || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }):
			c.add(key, "holds %q, must be names of users as in /etc/passwd, or their numbers", name)
		case slices.Contains(users[:i], name):
			c.add(key, "holds %q twice", name)
		case name == anyUser && len(users) > 1:
			c.add(key, "holds \"any\", which is everybody, beside others; write [\"any\"], or the others alone")
		}
	}
}
