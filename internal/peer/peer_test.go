package peer

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/internal/testkit"
)

// somebody is a user that has no programs.
const somebody = 12345

// dialAs connects to an address as a user and returns the connection's file descriptor, which the caller closes.
func dialAs(t *testing.T, uid int, at *net.TCPAddr) (fd int) {
	t.Helper()
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: at.Port, Addr: [4]byte{127, 0, 0, 1}})
	if at.IP.To4() == nil {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: at.Port, Addr: [16]byte(at.IP)}
	}
	testkit.Check(t, testkit.AsUser(t, uid, func() (err error) {
		if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Connect(fd, to)
	}))
	return fd
}

func TestTheKernelTellsWhoseProgramItIs(t *testing.T) {
	for _, listen := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "[::]:0"}, {"tcp", "127.0.0.1:0"},
	} {
		l := testkit.Must(net.Listen(listen.network, listen.address))(t)
		at := l.Addr().(*net.TCPAddr)
		if at.IP.IsUnspecified() { // of both versions: the client's addresses are of version 4
			at.IP = net.IPv4(127, 0, 0, 1)
		}
		users := []int{os.Geteuid()}
		if os.Geteuid() == 0 {
			users = append(users, somebody)
		}
		for _, user := range users {
			client := dialAs(t, user, at)
			server := testkit.Must(l.Accept())(t)
			if uid, err := User(server); err != nil || uid != uint32(user) {
				t.Errorf("%s: user %d, %v; want %d", listen.address, uid, err, user)
			}
			// Each of the kernel's two ways by itself.
			from, to := server.RemoteAddr().(*net.TCPAddr).AddrPort(), server.LocalAddr().(*net.TCPAddr).AddrPort()
			if uid, err := ownerOfTCP(from, to); err != nil || uid != uint32(user) {
				t.Errorf("%s, sock_diag: user %d, %v; want %d", listen.address, uid, err, user)
			}
			if uid, err := inTable("tcp", from, func(other netip.AddrPort) bool { return other == unmapped(to) }); err != nil || uid != uint32(user) {
				t.Errorf("%s, table: user %d, %v; want %d", listen.address, uid, err, user)
			}
			testkit.Check(t, unix.Close(client))
			testkit.Eventually(t, "whose it was is not told when it is closed", func() bool {
				_, err := User(server)
				return errors.Is(err, ErrUntold)
			})
			testkit.Check(t, server.Close())
		}
		testkit.Check(t, l.Close())
	}
}

func TestTheKernelTellsWhoHasSentADatagram(t *testing.T) {
	users := []int{os.Geteuid()}
	if os.Geteuid() == 0 {
		users = append(users, somebody)
	}
	for _, user := range users {
		l := testkit.Must(net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))(t)
		var fd int
		to := &unix.SockaddrInet4{Port: l.LocalAddr().(*net.UDPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
		testkit.Check(t, testkit.AsUser(t, user, func() (err error) {
			if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			return unix.Sendto(fd, []byte("x"), 0, to)
		}))
		_, from, err := l.ReadFromUDPAddrPort(make([]byte, 1))
		testkit.Check(t, err)
		if uid, err := Sender(from); err != nil || uid != uint32(user) {
			t.Errorf("user %d, %v; want %d", uid, err, user)
		}
		testkit.Check(t, unix.Close(fd))
		if _, err := Sender(from); !errors.Is(err, ErrUntold) {
			t.Errorf("a socket that is closed: %v", err)
		}
		testkit.Check(t, l.Close())
	}
}

func TestTheUserOfASocketInTheFileSystemStaysKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l := testkit.Must(net.Listen("unix", path))(t)
	defer l.Close()
	client := testkit.Must(net.Dial("unix", path))(t)
	server := testkit.Must(l.Accept())(t)
	defer server.Close()
	testkit.Check(t, client.Close())
	if uid, err := User(server); err != nil || uid != uint32(os.Geteuid()) {
		t.Errorf("user %d, %v", uid, err)
	}
}

func TestAddressesOfTheTable(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000001000000:0050": "[::1]:80",
		"0000000000000000FFFF00000100007F:0001": "127.0.0.1:1", "0100007F": "", "0100007G:0001": "", "01:0001": "",
	} {
		if got, ok := parseSocket(text); ok != (want != "") || ok && got != netip.MustParseAddrPort(want) {
			t.Errorf("%s gave %v, %v", text, got, ok)
		}
	}
}

func TestWhatIsNoConnectionOfThisDevice(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := User(a); !errors.Is(err, ErrUntold) {
		t.Errorf("a pipe: %v", err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	refused := make([]byte, 36)
	refused[4], refused[5] = unix.NLMSG_ERROR, 0
	refused[16] = 0xfe // -ENOENT
	refused[17], refused[18], refused[19] = 0xff, 0xff, 0xff
	closed := make([]byte, answerSize)
	closed[4] = unix.SOCK_DIAG_BY_FAMILY
	for rule, answer := range map[string][]byte{
		"nothing": nil, "half an answer": closed[:answerSize-1], "a refusal": refused, "another message": make([]byte, answerSize),
		"a closed connection": closed,
	} {
		if uid, err := owner(answer); err == nil {
			t.Errorf("%s: user %d", rule, uid)
		}
	}
}

func BenchmarkUser(b *testing.B) {
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(b)
	defer l.Close()
	client := testkit.Must(net.Dial("tcp", l.Addr().String()))(b)
	defer client.Close()
	server := testkit.Must(l.Accept())(b)
	defer server.Close()
	for b.Loop() {
		if _, err := User(server); err != nil {
			b.Fatal(err)
		}
	}
}
