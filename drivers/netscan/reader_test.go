package netscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/drivers/internal/device"
	"github.com/kipass/kipass/internal/testkit"
)

const patience = 5 * time.Minute

func newReader(t *testing.T, opts Options) *Reader {
	t.Helper()
	opts.Name = "front"
	return testkit.Must(New(opts))(t)
}

// service plays a scan service that connects when it has something to say.
type service struct {
	t      *testing.T
	reader *Reader

	mu   sync.Mutex
	conn net.Conn
	to   string
}

// send writes b to the reader, if it is open, over a connection to where it listens now.
func (s *service) send(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.reader.place.Path
	if at, open := s.reader.Addr(); open {
		to = at.String()
	}
	if to == "" {
		return
	}
	if s.conn == nil || s.to != to {
		s.hangUp()
		conn, err := net.Dial(s.reader.place.Network, to)
		if err != nil {
			return // it was closed in between
		}
		s.conn, s.to = conn, to
	}
	if _, err := s.conn.Write(b); err != nil {
		s.hangUp()
	}
}

func (s *service) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp()
}

func TestReaderSuite(t *testing.T) {
	// Each reader's clock stands still until a silence is to pass.
	newFixture := func(opts Options, ends ...string) func(*testing.T) drivertest.Fixture {
		opts.Framing.Code = drivertest.Codes
		return func(t *testing.T) drivertest.Fixture {
			s, clock := &service{t: t, reader: newReader(t, opts)}, testkit.NewClock(time.Now())
			s.reader.now = clock.Now
			t.Cleanup(s.close)
			return drivertest.Fixture{
				Reader: s.reader, Name: "front", Type: s.send, Ends: ends,
				Hush:  func() { clock.Add(framing.DefaultGap) },
				Bytes: true, Flood: true, AIM: true,
			}
		}
	}
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		fixture := newFixture(Options{Listen: "tcp://127.0.0.1:0"}, "\r", "\n", "\r\n", "\t", "\x03", "")
		drivertest.ReaderSuite(t, fixture)
		drivertest.DecorationSuite(t, fixture)
		drivertest.FlawSuite(t, fixture)
	})
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		fixture := func(t *testing.T) drivertest.Fixture {
			return newFixture(Options{Listen: "unix://" + filepath.Join(t.TempDir(), "scan.sock")}, "\r", "")(t)
		}
		drivertest.ReaderSuite(t, fixture)
		drivertest.DecorationSuite(t, fixture)
	})
	t.Run("tcp with a named end", func(t *testing.T) {
		t.Parallel()
		drivertest.ReaderSuite(t, newFixture(Options{Listen: "tcp://localhost:0", Framing: framing.Rule{Terminator: framing.CRLF}}, "\r\n"))
	})
	// A datagram comes whole: what is typed is gathered up to its end, which is not sent.
	t.Run("udp", func(t *testing.T) {
		t.Parallel()
		const end = "<end>"
		fixture := func(t *testing.T) drivertest.Fixture {
			f := newFixture(Options{Listen: "udp://127.0.0.1:0"}, end)(t)
			send := f.Type
			var rest []byte
			f.Type = func(p []byte) {
				rest = append(rest, p...)
				for {
					datagram, after, ended := bytes.Cut(rest, []byte(end))
					if !ended {
						return
					}
					send(datagram)
					rest = after
				}
			}
			f.Flood = false // a datagram has at most 64 KB
			return f
		}
		drivertest.ReaderSuite(t, fixture)
		drivertest.DecorationSuite(t, fixture)
		drivertest.FlawSuite(t, fixture)
	})
}

// running runs a reader until the test ends and waits until it listens.
func running(t *testing.T, r *Reader) (netip.AddrPort, *drivertest.Running) {
	t.Helper()
	run := drivertest.Run(t, r)
	drivertest.Opened(t, r)
	at, _ := r.Addr()
	return at, run
}

func dial(t *testing.T, network string, at netip.AddrPort) net.Conn {
	t.Helper()
	conn := testkit.Must(net.Dial(network, at.String()))(t)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	testkit.Must(conn.Write([]byte(text)))(t)
}

// ended waits until the reader has closed a connection.
func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	testkit.Check(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is open still: %d bytes, %v", n, err)
	}
}

func TestConnectionsDoNotDisturbEachOther(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Framing: framing.Rule{Terminator: framing.CR}}))
	a, b := dial(t, "tcp", at), dial(t, "tcp", at)
	write(t, a, "AA")
	write(t, b, "BBBB\r")
	reads.Want("BBBB")
	write(t, a, "AA\r")
	reads.Want("AAAA")
}

func TestAConnectionClosedInGoodOrderEndsACode(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Framing: framing.Rule{Terminator: framing.CR}}))
	conn := dial(t, "tcp", at)
	write(t, conn, "WHOLE")
	conn.Close()
	reads.Want("WHOLE")
}

func TestAConnectionResetTearsItsCode(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Framing: framing.Rule{Terminator: framing.CR}}))
	torn := dial(t, "tcp", at).(*net.TCPConn)
	write(t, torn, "SIGN\rTORN")
	reads.Want("SIGN")
	if err := torn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	torn.Close()
	write(t, dial(t, "tcp", at), "NEXT\r")
	reads.Want("NEXT")
}

func TestOneConnectionTooManyClosesTheMostSilent(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Connections: 2}))
	silent, lively := dial(t, "tcp", at), dial(t, "tcp", at)
	write(t, silent, "A\r")
	reads.Next()
	write(t, lively, "B\r")
	reads.Next()
	write(t, dial(t, "tcp", at), "C\r")
	reads.Want("C")
	ended(t, silent)
	write(t, lively, "D\r")
	reads.Want("D")
}

// A browser opens connections ahead of need, and says nothing on them. The scan service keeps its own.
func TestConnectionsThatSayNothingShutNobodyOut(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Connections: 2}))
	service := dial(t, "tcp", at)
	write(t, service, "A\r")
	reads.Want("A")
	silent := dial(t, "tcp", at)
	for range 3 {
		next := dial(t, "tcp", at)
		ended(t, silent)
		silent = next
	}
	write(t, service, "B\r")
	reads.Want("B")
}

func TestAnEndlessConnectionIsClosed(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0", Endless: 1 << 16}))
	conn := dial(t, "tcp", at)
	for range 100 { // in all more than the limit, but with codes between
		write(t, conn, strings.Repeat("x", 2000)+"\rCODE\r")
		reads.Want(strings.Repeat("x", drivers.MaxFrame), "CODE")
	}
	for range 32 { // twice the limit; once it is closed, writing fails
		if _, err := conn.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
			break
		}
	}
	ended(t, conn)
}

func TestRunWaitsForAFrameUnderWay(t *testing.T) {
	r := newReader(t, Options{Listen: "tcp://127.0.0.1:0"})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	entered, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- r.Run(ctx, func(drivers.Read) { close(entered); <-leave })
	}()
	s := &service{t: t, reader: r}
	t.Cleanup(s.close)
	drivertest.Opened(t, r)
	s.send([]byte("CODE\r"))
	<-entered
	cancel()
	select {
	case <-done:
		t.Fatal("Run returned while a frame was being taken")
	case <-time.After(100 * time.Millisecond): // long enough for a Run that does not wait; one that does passes at any length
	}
	close(leave)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

func TestADatagramIsACode(t *testing.T) {
	for _, term := range framing.Terminators {
		at, reads := running(t, newReader(t, Options{Listen: "udp://[::1]:0", Framing: framing.Rule{Terminator: term, Prefix: "<"}}))
		conn := dial(t, "udp", at)
		for i := range 3 {
			want := fmt.Sprintf("CODE%d", i)
			write(t, conn, "<"+want)
			reads.Want(want)
		}
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	own := otherAddress(t)
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0"}))
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: own.AsSlice()}}).Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("EVIL\r")) // fails if it was refused already
	ended(t, conn)

	udpAt, udpReads := running(t, newReader(t, Options{Listen: "udp://127.0.0.1:0"}))
	evil, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: own.AsSlice()}}).Dial("udp", udpAt.String())
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	write(t, evil, "EVIL")
	write(t, dial(t, "udp", udpAt), "GOOD")
	udpReads.Want("GOOD")
	write(t, dial(t, "tcp", at), "GOOD\r")
	reads.Want("GOOD")
}

// otherAddress returns an address of this machine by which others know it.
func otherAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		prefix, err := netip.ParsePrefix(one.String())
		if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			return prefix.Addr()
		}
	}
	t.Skip("this machine has no address but loopback")
	return netip.Addr{}
}

func TestCheckSaysWhy(t *testing.T) {
	first := newReader(t, Options{Listen: "tcp://127.0.0.1:0"})
	if err := first.Check(); !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Check says %v before it was opened", err)
	}
	at, reads := running(t, first)
	if err := first.Check(); err != nil {
		t.Errorf("Check says %v of an open socket", err)
	}
	second := newReader(t, Options{Listen: "tcp://" + at.String()})
	err := second.Run(context.Background(), func(drivers.Read) { t.Error("a frame came") })
	if !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "another program listens there") {
		t.Errorf("Run returned %v of a port in use", err)
	}
	if err := second.Check(); !errors.Is(err, drivers.ErrUnavailable) {
		t.Errorf("Check says %v of a port in use", err)
	}
	conn := dial(t, "tcp", at)
	for i := range device.MaxGarbled {
		write(t, conn, fmt.Sprintf("\xf8\x06%d\r", i))
		reads.Next()
	}
	if err := first.Check(); !errors.Is(err, drivers.ErrGarbled) {
		t.Errorf("Check says %v of noise", err)
	}
	write(t, conn, "CODE\r")
	reads.Next()
	if err := first.Check(); err != nil {
		t.Errorf("Check says %v after a code", err)
	}
}

func TestListenIsOnThisDeviceAlone(t *testing.T) {
	for listen, want := range map[string]string{
		"tcp://127.0.0.1:58627":                   "tcp 127.0.0.1:58627",
		"udp://127.0.0.1:0":                       "udp 127.0.0.1:0",
		"udp://[::1]:58627":                       "udp [::1]:58627",
		"tcp://LOCALHOST:1":                       "tcp 127.0.0.1:1",
		"tcp://127.9.9.9:1":                       "tcp 127.9.9.9:1",
		"tcp://0.0.0.0:1":                         "this device alone",
		"tcp://[::]:1":                            "this device alone",
		"tcp://:1":                                "this device alone",
		"udp://192.0.2.1:1":                       "this device alone",
		"tcp://gate.example:1":                    "this device alone",
		"tcp://127.0.0.1":                         "has no port",
		"tcp://127.0.0.1:":                        "has no port",
		"tcp://127.0.0.1:65536":                   "65535",
		"tcp://127.0.0.1:x":                       "is no socket",
		"http://127.0.0.1:1":                      "is no socket",
		"tcp://127.0.0.1:1/x":                     "is no socket",
		"tcp://u@127.0.0.1:1":                     "is no socket",
		"127.0.0.1:1":                             "is no socket",
		"unix:///run/scan.sock":                   "unix /run/scan.sock",
		"unix://run/scan.sock":                    "no absolute path",
		"unix:///run/../x":                        "no absolute path",
		"unix:///run/" + strings.Repeat("x", 107): "up to 107 bytes",
		"": "is no socket",
	} {
		got := ""
		if p, err := ParseListen(listen); err != nil {
			got = "error: " + err.Error()
		} else if p.Network == "unix" {
			got = "unix " + p.Path
		} else {
			got = p.Network + " " + p.Address.String()
		}
		good := strings.HasPrefix(want, "tcp ") || strings.HasPrefix(want, "udp ") || strings.HasPrefix(want, "unix ")
		if good && got != want || !good && !(strings.HasPrefix(got, "error: ") && strings.Contains(got, want)) {
			t.Errorf("%q gave %s, want %s", listen, got, want)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for words, opts := range map[string]Options{
		"needs a name":        {Listen: "tcp://127.0.0.1:1"},
		"this device alone":   {Name: "front", Listen: "tcp://192.0.2.1:1"},
		"unknown terminator":  {Name: "front", Listen: "tcp://127.0.0.1:1", Framing: framing.Rule{Terminator: "enter"}},
		"out of range":        {Name: "front", Listen: "tcp://127.0.0.1:1", Framing: framing.Rule{Gap: time.Minute}},
		"socket mode":         {Name: "front", Listen: "unix:///run/scan.sock", SocketMode: 0o10},
		"limits of connectio": {Name: "front", Listen: "tcp://127.0.0.1:1", Connections: -1},
	} {
		if _, err := New(opts); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v, want %q", opts, err, words)
		}
	}
}

// FuzzParseListen holds that nothing but a loopback address is ever listened on.
func FuzzParseListen(f *testing.F) {
	f.Add("tcp://127.0.0.1:58627")
	f.Add("udp://[::ffff:127.0.0.1%25lo]:1")
	f.Fuzz(func(t *testing.T, listen string) {
		p, err := ParseListen(listen)
		switch {
		case err != nil && p != Place{}:
			t.Fatalf("%q gave %v beside %v", listen, p, err)
		case err != nil:
		case p.Network == "unix" && (!filepath.IsAbs(p.Path) || p.Address.IsValid()):
			t.Fatalf("%q gave %v", listen, p)
		case p.Network != "unix" && (p.Network != "tcp" && p.Network != "udp" || !net.IP(p.Address.Addr().AsSlice()).IsLoopback()):
			t.Fatalf("%q gave %v", listen, p)
		}
	})
}
