package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/wire"
)

func (f *fixture) uplinkThrough(box *middlebox, change func(*Options)) *Uplink {
	return f.uplink(func(opts *Options) {
		opts.Network.Dial = box.dial
		if change != nil {
			change(opts)
		}
	})
}

func TestAHandshakeThatDoesNotGetThroughIsMadeShorter(t *testing.T) {
	for rule, c := range map[string]struct {
		silent bool
		clock  *gateClock // nil: one that is right
	}{
		"resets":                         {},
		"silence":                        {silent: true},
		"resets, and without a clock":    {clock: &gateClock{off: -29 * years}},
		"silence, and a clock far ahead": {silent: true, clock: &gateClock{off: 29 * years}},
	} {
		t.Run(rule, bubble(func(t *testing.T) {
			f := newFixture(t, 5)
			box := newMiddlebox(t, f, ethernet)
			box.silent = c.silent
			asked := f.asked()
			u := f.uplinkThrough(box, func(opts *Options) {
				if c.clock != nil {
					opts.Time, opts.OnServerTime = c.clock.now, c.clock.hear
				}
			})
			if u.Status().KeyExchange != "" {
				t.Errorf("before anything: %+v", u.Status())
			}
			f.run(u, f.drained)
			f.checkLedger()
			if s := u.Status(); !s.Classic || s.KeyExchange != tls.X25519.String() {
				t.Errorf("status %+v", s)
			}
			if n := box.cut.Load(); n != maxCutOffs {
				t.Errorf("%d connections were cut off, want %d", n, maxCutOffs)
			}
			if slices.Contains(asked(), "time") != (c.clock != nil) {
				t.Errorf("asked for %v", asked())
			}
		}))
	}
}

func TestWithoutABoxOnTheWayTheHandshakeIsPostQuantum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5)
		box := newMiddlebox(t, f, anySize)
		u := f.uplinkThrough(box, nil)
		f.run(u, f.drained)
		if s := u.Status(); s.Classic || s.KeyExchange != tls.X25519MLKEM768.String() || box.cut.Load() != 0 {
			t.Errorf("status %+v, %d cut off", s, box.cut.Load())
		}
	})
}

// Nobody on the way takes the hybrid away for good.
func TestTheHybridIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5)
		box := newMiddlebox(t, f, ethernet)
		u := f.uplinkThrough(box, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- u.Run(ctx) }()
		const heartbeat = 5 * time.Minute // how long it may take until there is a connection again
		time.Sleep(8 * time.Minute)
		if n := box.cut.Load(); !f.drained() || !u.Status().Classic || n < maxCutOffs+1 || n > maxCutOffs+3 {
			t.Fatalf("%d cut off in the first minutes, status %+v", n, u.Status())
		}
		time.Sleep(24 * time.Hour)
		before := box.cut.Load()
		time.Sleep(4 * (maxClassic + heartbeat))
		if n := box.cut.Load() - before; n < 3 || n > 4 || !u.Status().Classic {
			t.Errorf("in four such times the hybrid was tried %d times, status %+v", n, u.Status())
		}
		if n := f.logged.Count("without the post-quantum key exchange"); n != 1 {
			t.Errorf("it is told %d times", n)
		}
		box.segment.Store(anySize)
		time.Sleep(maxClassic + heartbeat)
		if s := u.Status(); s.Classic || s.KeyExchange != tls.X25519MLKEM768.String() {
			t.Errorf("it still goes without, though the hybrid gets through: %+v", s)
		}
		box.segment.Store(ethernet)
		time.Sleep(time.Hour)
		if !u.Status().Classic {
			t.Error("that the box is back is not told")
		}
		box.segment.Store(anySize)
		time.Sleep(time.Hour)
		if u.Status().Classic {
			t.Error("an hour's box takes the hybrid away for longer than two")
		}
		cancel()
		<-ended
	})
}

// Resets that have another cause leave nothing behind, and no other failure is taken for one.
func TestOtherFailuresOfHandshakesAreNoReason(t *testing.T) {
	for rule, during := range map[string]func(f *fixture, box *middlebox){
		"nothing gets through": func(_ *fixture, box *middlebox) { box.segment.Store(0) },
		"the server is busy": func(f *fixture, _ *middlebox) {
			f.server.SetFault(func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				f.server.Refuse(w, http.StatusServiceUnavailable, wire.CodeBusy, "")
				return true
			})
		},
	} {
		t.Run(rule, bubble(func(t *testing.T) {
			f := newFixture(t, 5).enrolled()
			box := newMiddlebox(t, f, anySize)
			u := f.uplinkThrough(box, nil)
			during(f, box)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- u.Run(ctx) }()
			time.Sleep(time.Minute)
			if s := u.Status(); s.Classic || f.drained() {
				t.Errorf("meanwhile: status %+v", s)
			}
			f.server.SetFault(nil)
			box.segment.Store(anySize)
			time.Sleep(10 * time.Minute)
			if s := u.Status(); !f.drained() || s.Classic || s.KeyExchange == "" {
				t.Errorf("backlog %d, status %+v", f.journal.backlog(), s)
			}
			cancel()
			<-ended
		}))
	}
}

func TestAnAuthorityThatIsNotTrustedIsNoBoxOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 5)
		box := newMiddlebox(t, f, ethernet)
		box.segment.Store(anySize)
		u := f.uplinkThrough(box, func(opts *Options) { opts.CA = x509.NewCertPool() })
		f.run(u, func() bool { return box.through.Load() >= 10*maxCutOffs })
		if s := u.Status(); s.Classic || s.KeyExchange != "" || u.opts.hello.choose() || u.opts.hello.cutOffs != 0 {
			t.Errorf("status %+v, %d cut off", s, u.opts.hello.cutOffs)
		}
	})
}

// On real sockets: what ends a handshake without a word, and what is a word.
func TestOnlyAnEndWithoutAWordIsACutOff(t *testing.T) {
	for rule, c := range map[string]struct {
		answer string
		reset  bool
		silent bool
		want   bool
	}{
		"a reset":       {reset: true, want: true},
		"an end":        {want: true},
		"silence":       {silent: true, want: true},
		"half a record": {answer: "\x16\x03\x03\x00\x7a\x02", want: true},
		"an alert":      {answer: "\x15\x03\x03\x00\x02\x02\x28"}, // handshake_failure (RFC 8446 section 6)
		"a portal":      {answer: "HTTP/1.1 400 Bad Request\r\n\r\n"},
	} {
		t.Run(rule, func(t *testing.T) {
			l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
			conn := testkit.Must(net.Dial("tcp", l.Addr().String()))(t)
			server := testkit.Must(l.Accept())(t).(*net.TCPConn)
			testkit.Check(t, l.Close())
			var served sync.WaitGroup
			served.Go(func() {
				defer server.Close()
				_, _ = server.Read(make([]byte, anySize)) // else what is unread makes a reset of every end
				_, _ = server.Write([]byte(c.answer))
				if c.reset {
					_ = server.SetLinger(0)
				}
				if c.silent {
					_, _ = server.Read(make([]byte, 1))
				}
			})
			if c.silent {
				testkit.Check(t, conn.SetReadDeadline(time.Now()))
			}
			err := tls.Client(conn, &tls.Config{ServerName: serverHost}).Handshake()
			if err == nil || cutOff(err) != c.want {
				t.Errorf("%v is taken for a cut-off: %v", err, cutOff(err))
			}
			_ = conn.Close()
			served.Wait()
		})
	}
}
