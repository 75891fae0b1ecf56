package peer

import (
	"bufio"
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// inTable looks in the kernel's table of sockets (proc_net_tcp.txt of its documentation) for the one at an address with the
// other end that is right. Sockets without inode belong to nobody any more, whatever owner is shown.
func inTable(network string, at netip.AddrPort, right func(other netip.AddrPort) bool) (uint32, error) {
	at = unmapped(at)
	for _, table := range []string{"/proc/net/" + network, "/proc/net/" + network + "6"} {
		file, err := os.Open(table)
		if err != nil {
			continue
		}
		uid, found := findSocket(bufio.NewScanner(file), at, right)
		_ = file.Close()
		if found {
			return uid, nil
		}
	}
	return 0, ErrUntold
}

func findSocket(lines *bufio.Scanner, at netip.AddrPort, right func(other netip.AddrPort) bool) (uint32, bool) {
	for lines.Scan() {
		const local, remote, uid, inode = 1, 2, 7, 9
		columns := strings.Fields(lines.Text())
		if len(columns) <= inode || columns[inode] == "0" {
			continue
		}
		own, ok := parseSocket(columns[local])
		other, okOther := parseSocket(columns[remote])
		if !ok || !okOther || own.Port() != at.Port() || own.Addr() != at.Addr() && !own.Addr().IsUnspecified() || !right(other) {
			continue
		}
		if n, err := strconv.ParseUint(columns[uid], 10, 32); err == nil {
			return uint32(n), true
		}
	}
	return 0, false
}

// parseSocket reads an address as the kernel shows it: words of 32 bits in its own byte order, in hex, and the port.
func parseSocket(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(address) != 8 && len(address) != 32 {
		return netip.AddrPort{}, false
	}
	var b []byte
	for ; len(address) > 0; address = address[8:] {
		word, err := strconv.ParseUint(address[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b = binary.NativeEndian.AppendUint32(b, uint32(word))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), ok
}
