package netscan

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers/internal/device"
)

// AnyUser in Options.Users lets every program of the device send.
const AnyUser = "any"

// systemUser tells whether a user stands for a service and not for a person: by Debian's policy (9.2.2), or as one that systemd
// made for a service with DynamicUser (its UIDS-GIDS.md).
func systemUser(number uint32) bool { return number <= 999 || number >= 61184 && number <= 65519 }

// senders says whose programs may send codes.
type senders struct {
	any     bool
	named   bool            // only those named, and the kernel must tell that it is one of them
	numbers map[uint32]bool // those named
}

// newSenders looks the users up. Without names they are root, the gate's own user and those of services, but not people, whose
// browsers run as they do; on Android programs have no such numbers, and whoever may open a socket in the file system may
// send to it.
func newSenders(users []string, network string) (senders, error) {
	if len(users) == 0 {
		return senders{any: network == "unix" || android()}, nil
	}
	s := senders{any: slices.Contains(users, AnyUser), named: true, numbers: map[uint32]bool{}}
	for _, name := range users {
		if name == AnyUser {
			continue
		}
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return senders{}, fmt.Errorf("there is no user %q: %w", name, err)
			}
			if number, err = strconv.ParseUint(u.Uid, 10, 32); err != nil {
				return senders{}, fmt.Errorf("user %q: %w", name, err)
			}
		}
		s.numbers[uint32(number)] = true
	}
	return s, nil
}

// android tells whether this is Android, whose init sets that variable for every program. A gate there is a program for Linux.
func android() bool { return os.Getenv("ANDROID_ROOT") != "" }

// errUntold means that the kernel does not say whose program it is: the other end is closed already, or this system shows no
// program the connections of others, as Android since version 10.
var errUntold = errors.New("the kernel does not tell whose program it is")

// refuse returns why a program may not send, in words for the technician; "" if it may. uid is asked only where it matters.
func (s senders) refuse(uid func() (uint32, error)) string {
	if s.any {
		return ""
	}
	number, err := uid()
	switch {
	case err != nil && s.named:
		return "어느 사용자의 프로그램인지 알 수 없어 차단했습니다: listen = \"unix://…\"를 쓰거나 users를 비우세요" +
			" / a program was turned away because the kernel does not tell whose it is: use listen = \"unix://…\", or leave users out"
	case err != nil, s.numbers[number], !s.named && (systemUser(number) || int(number) == os.Geteuid()):
		return ""
	}
	return fmt.Sprintf("사용자 %[1]s의 프로그램을 차단했습니다: 스캔 서비스라면 users에 적으세요"+
		" / a program of user %[1]s was turned away: if it is the scan service, name that user in users", userName(number))
}

func userName(number uint32) string {
	text := strconv.FormatUint(uint64(number), 10)
	if u, err := user.LookupId(text); err == nil {
		return u.Username + " (" + text + ")"
	}
	return text
}

// peerOf returns the user whose program is at the other end of a connection.
func peerOf(conn net.Conn) (uint32, error) {
	switch c := conn.(type) {
	case *net.UnixConn:
		return peerOfUnix(c)
	case *net.TCPConn:
		from, to := c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort()
		return ownerOf("tcp", from, func(other netip.AddrPort) bool { return other == to })
	default:
		return 0, errUntold
	}
}

// peerOfUnix asks for the user who connected, which stays known after the other end was closed (SO_PEERCRED of unix(7)).
func peerOfUnix(c syscall.Conn) (uid uint32, err error) {
	err = device.Control(c, func(fd int) error {
		credentials, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = credentials.Uid
		}
		return err
	})
	return uid, err
}

// senderOf returns the user whose program has the socket from which a datagram came.
func senderOf(from netip.AddrPort) (uint32, error) {
	return ownerOf("udp", from, func(netip.AddrPort) bool { return true })
}

// ownerOf looks in the kernel's table of sockets (proc_net_tcp.txt of its documentation) for the one at an address with the
// other end that is right. Sockets without inode belong to nobody any more, whatever owner is shown.
func ownerOf(network string, at netip.AddrPort, right func(other netip.AddrPort) bool) (uint32, error) {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
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
	return 0, errUntold
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
