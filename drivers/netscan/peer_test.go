package netscan

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/internal/peer"
	"github.com/kipass/kipass/internal/testkit"
)

// Users of tests: a service and a person.
const (
	serviceUser = 101
	personUser  = 12345
)

// sendAs opens a socket as another user, connects it, sends text and leaves it open until the test ends.
func sendAs(t *testing.T, uid, kind int, to unix.Sockaddr, text string) error {
	t.Helper()
	family, fd := unix.AF_INET, 0
	switch to.(type) {
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	case *unix.SockaddrUnix:
		family = unix.AF_UNIX
	}
	err := testkit.AsUser(t, uid, func() (err error) {
		if fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err = unix.Connect(fd, to); err == nil {
			_, err = unix.Write(fd, []byte(text)) // fails if it was refused already
			if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
				err = nil
			}
		}
		return err
	})
	if fd > 0 {
		t.Cleanup(func() { unix.Close(fd) })
	}
	return err
}

// TestWhoseProgramsMaySend connects as other users, which the kernel tells apart.
func TestWhoseProgramsMaySend(t *testing.T) {
	for _, c := range []struct {
		rule  string
		users []string
		as    int
		taken bool
	}{
		{"root, unless others are named", nil, 0, true},
		{"a service, unless others are named", nil, serviceUser, true},
		{"no person, unless named", nil, personUser, false},
		{"a person who is named", []string{"root", fmt.Sprint(personUser)}, personUser, true},
		{"nobody who is not", []string{fmt.Sprint(personUser)}, serviceUser, false},
		{"anybody, where that is said", []string{AnyUser}, personUser, true},
	} {
		for _, network := range []string{"tcp", "tcp6", "udp", "udp6", "unix"} {
			t.Run(c.rule+", "+network, func(t *testing.T) {
				if network == "unix" && c.users == nil {
					t.Skip("the permissions of the file say who may")
				}
				dir := t.TempDir()
				testkit.Check(t, os.Chmod(filepath.Dir(dir), 0o755))
				listen := map[string]string{
					"tcp": "tcp://127.0.0.1:0", "tcp6": "tcp://[::1]:0", "udp": "udp://127.0.0.1:0", "udp6": "udp://[::1]:0",
					"unix": "unix://" + dir + "/scan.sock",
				}[network]
				r := newReader(t, Options{Listen: listen, Users: c.users, SocketMode: 0o666})
				at, reads := running(t, r)
				kind := unix.SOCK_STREAM
				if strings.HasPrefix(network, "udp") {
					kind = unix.SOCK_DGRAM
				}
				testkit.Check(t, sendAs(t, c.as, kind, socketAddress(at, dir+"/scan.sock"), "CODE\r"))
				if c.taken {
					reads.Want("CODE")
					testkit.Check(t, r.Check())
					return
				}
				drivertest.Await(t, "the technician to be told", func() bool {
					err := r.Check()
					return err != nil && strings.Contains(err.Error(), fmt.Sprint(c.as)) && strings.Contains(err.Error(), "차단")
				})
				if len(reads.Frames()) > 0 {
					t.Error("what they sent was read")
				}
			})
		}
	}
}

// socketAddress is that of a reader that listens at, or else on the socket at path.
func socketAddress(at netip.AddrPort, path string) unix.Sockaddr {
	switch ip := at.Addr(); {
	case !at.IsValid():
		return &unix.SockaddrUnix{Name: path}
	case ip.Is4():
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: ip.As4()}
	default:
		return &unix.SockaddrInet6{Port: int(at.Port()), Addr: ip.As16()}
	}
}

// TestWhichUsersAreServices has the numbers at which people begin and end.
func TestWhichUsersAreServices(t *testing.T) {
	for number, want := range map[uint32]bool{0: true, 999: true, 1000: false, 61183: false, 61184: true, 65519: true, 65534: false} {
		if systemUser(number) != want {
			t.Errorf("%d: %v", number, !want)
		}
	}
}

// TestOnAndroidProgramsHaveOtherNumbers holds that those of its scan services need not be known.
func TestOnAndroidProgramsHaveOtherNumbers(t *testing.T) {
	t.Setenv("ANDROID_ROOT", "/system")
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0"}))
	testkit.Check(t, sendAs(t, personUser, unix.SOCK_STREAM, socketAddress(at, ""), "CODE\r"))
	reads.Want("CODE")
}

// TestWhoCannotBeToldIsNotOneOfThoseNamed holds the rule for a peer that has gone.
func TestWhoCannotBeToldIsNotOneOfThoseNamed(t *testing.T) {
	untold := func() (uint32, error) { return 0, peer.ErrUntold }
	unnamed := testkit.Must(newSenders(nil, "tcp"))(t)
	named := testkit.Must(newSenders([]string{"root"}, "tcp"))(t)
	if words := unnamed.refuse(untold); words != "" {
		t.Errorf("nobody is named: %s", words)
	}
	if words := named.refuse(untold); !strings.Contains(words, "does not tell") || !strings.Contains(words, "알 수 없어") {
		t.Errorf("root is named: %q", words)
	}
}

func TestUnknownUsersAreExplained(t *testing.T) {
	if words := hints.Words(fmt.Errorf("%w: %w", errGroup, fs.ErrPermission)); !strings.Contains(words, "to that group") {
		t.Errorf("a group that may not be used: %q", words)
	}
	for words, opts := range map[string]Options{
		`no user "nobody-there"`:  {Users: []string{"nobody-there"}},
		`no group "nobody-there"`: {SocketGroup: "nobody-there"},
	} {
		opts.Listen = "unix://" + t.TempDir() + "/scan.sock"
		err := newReader(t, opts).Run(t.Context(), func(drivers.Read) {})
		if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), words) {
			t.Errorf("Run returned %v, want %q", err, words)
		}
	}
}

func TestPermissionsOfASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scan.sock")
	own := testkit.Must(user.LookupGroupId(fmt.Sprint(os.Getegid())))(t)
	running(t, newReader(t, Options{Listen: "unix://" + path, SocketMode: 0o620, SocketGroup: own.Name}))
	if info := testkit.Must(os.Stat(path))(t); info.Mode() != fs.ModeSocket|0o620 {
		t.Errorf("its mode is %v", info.Mode())
	}
	err := newReader(t, Options{Listen: "unix://" + path}).Run(t.Context(), func(drivers.Read) {})
	if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "another program listens there") {
		t.Errorf("a second reader gets %v", err)
	}

	open, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	testkit.Check(t, os.Chmod(open, 0o777))
	testkit.Check(t, os.WriteFile(file, []byte("kept"), 0o600))
	for words, path := range map[string]string{
		"gate's user alone": open + "/scan.sock", "choose another path": file, "folder is missing": open + "/absent/scan.sock",
	} {
		if err := newReader(t, Options{Listen: "unix://" + path}).Run(t.Context(), func(drivers.Read) {}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", path, err, words)
		}
	}
	if text := testkit.Must(os.ReadFile(file))(t); string(text) != "kept" {
		t.Error("a file was replaced")
	}
}

// TestASocketThatWasLeftIsReplaced stands for a gate that was killed.
func TestASocketThatWasLeftIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scan.sock")
	left := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}))(t)
	left.SetUnlinkOnClose(false)
	testkit.Check(t, left.Close())
	_, reads := running(t, newReader(t, Options{Listen: "unix://" + path}))
	conn := testkit.Must(net.Dial("unix", path))(t)
	defer conn.Close()
	write(t, conn, "CODE\r")
	reads.Want("CODE")
}
