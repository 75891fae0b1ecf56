package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownerOfTCP asks for the connection of the program at an address, the other end of which is at another.
func ownerOfTCP(at, to netip.AddrPort) (uint32, error) {
	answer, err := ask(request(at, to))
	if err != nil {
		return 0, err
	}
	return owner(answer)
}

// Sizes and places in messages (linux/inet_diag.h).
const (
	requestSize = unix.SizeofNlMsghdr + 56
	answerSize  = unix.SizeofNlMsghdr + 72
	uidAt       = unix.SizeofNlMsghdr + 64
	inodeAt     = unix.SizeofNlMsghdr + 68
)

// request is the question of ownerOfTCP: struct nlmsghdr and struct inet_diag_req_v2. Numbers are in the machine's order, ports and addresses in the network's.
func request(at, to netip.AddrPort) []byte {
	family := byte(unix.AF_INET6)
	if at.Addr().Unmap().Is4() && to.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	order := binary.NativeEndian
	b := make([]byte, 0, requestSize)
	b = order.AppendUint32(b, requestSize)
	b = order.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = order.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...) // sequence and port of the message
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = order.AppendUint32(b, 0xffffffff) // in whatever state
	b = binary.BigEndian.AppendUint16(b, at.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	for _, a := range []netip.Addr{at.Addr(), to.Addr()} {
		ip := a.WithZone("").AsSlice()
		if family == unix.AF_INET {
			ip = a.Unmap().AsSlice()
		}
		b = append(b, ip...)
		b = append(b, make([]byte, 16-len(ip))...)
	}
	b = append(b, make([]byte, 4)...)                        // any interface
	return append(b, 255, 255, 255, 255, 255, 255, 255, 255) // any cookie
}

// owner reads the user out of an answer: struct nlmsghdr and struct inet_diag_msg. A connection without inode belongs to
// nobody any more, whatever user is shown.
func owner(answer []byte) (uint32, error) {
	order := binary.NativeEndian
	if len(answer) < unix.SizeofNlMsghdr+4 {
		return 0, fmt.Errorf("answer of %d bytes", len(answer))
	}
	if order.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		return 0, syscall.Errno(-int32(order.Uint32(answer[unix.SizeofNlMsghdr:])))
	}
	if len(answer) < answerSize || order.Uint16(answer[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, fmt.Errorf("answer of %d bytes and of type %d", len(answer), order.Uint16(answer[4:]))
	}
	if order.Uint32(answer[inodeAt:]) == 0 {
		return 0, errors.New("it is closed")
	}
	return order.Uint32(answer[uidAt:]), nil
}

// ask sends a message to the kernel and returns its answer, which the kernel has ready at once.
func ask(message []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("asking the kernel: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("asking the kernel: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return nil, fmt.Errorf("the kernel's answer: %w", err)
	}
	return answer[:n], nil
}
