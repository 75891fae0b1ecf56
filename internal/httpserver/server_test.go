package httpserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// pipes is a listener whose connections are pipes, so that a server can be tested by the clock of a synctest bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// fixture is a server that runs in a bubble, and a client of it.
type fixture struct {
	pipes  *pipes
	client *http.Client
	stop   context.CancelFunc // ends Run's context
	ended  chan struct{}      // closed when Run has returned
	err    error              // what it returned then
}

func newFixture(t *testing.T, opts Options) *fixture {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &fixture{pipes: newPipes(), stop: stop, ended: make(chan struct{})}
	transport := &http.Transport{DialContext: f.pipes.dial}
	f.client = &http.Client{Transport: transport}
	go func() {
		f.err = Run(ctx, f.pipes, opts)
		close(f.ended)
	}()
	t.Cleanup(func() {
		stop()
		transport.CloseIdleConnections()
		<-f.ended
	})
	return f
}

// wait returns what Run has returned.
func (f *fixture) wait() error {
	<-f.ended
	return f.err
}

func (f *fixture) get(path string) (string, error) {
	resp, err := f.client.Get("http://server.test" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestRequestsInProgressEndBeforeTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{ShutdownTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(50 * time.Second)
			_, _ = io.WriteString(w, "whole")
		})})
		answer := make(chan string, 1)
		go func() {
			text, err := f.get("/")
			answer <- text + errText(err)
		}()
		synctest.Wait()
		f.stop()
		synctest.Wait()
		if _, err := f.get("/"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a request while the server ends: %v", err)
		}
		if err := f.wait(); err != nil {
			t.Errorf("ended with %v", err)
		}
		if got := <-answer; got != "whole" {
			t.Errorf("the request in progress got %q", got)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWhatDoesNotEndIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		f := newFixture(t, Options{ShutdownTimeout: 3 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			close(gone)
		})})
		go func() { _, _ = f.get("/") }()
		synctest.Wait()
		began := time.Now()
		f.stop()
		err := f.wait()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("ended after %v with %v", time.Since(began), err)
		}
		<-gone
	})
}

func TestAListenerThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{Handler: http.NotFoundHandler()})
		synctest.Wait()
		testkit.Check(t, f.pipes.Close())
		if err := f.wait(); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "serving pipes") {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestAContextThatHasEndedClosesTheListener(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p := newPipes()
	if err := Run(ctx, p, Options{Handler: http.NotFoundHandler()}); err != nil {
		t.Error(err)
	}
	<-p.closed
}

// A client that is slow to say what it wants, or idle, is let go after the time-out that is its own.
func TestTimeoutsOfReading(t *testing.T) {
	for _, c := range []struct {
		name string
		sent string
		want time.Duration
	}{
		{"no header", "", 2 * time.Second},
		{"half a header", "POST / HTTP/1.1\r\nHost: server.test\r\n", 2 * time.Second},
		{"half a body", "POST / HTTP/1.1\r\nHost: server.test\r\nContent-Length: 10\r\n\r\nfive.", 4 * time.Second},
		{"nothing after a request", "GET / HTTP/1.1\r\nHost: server.test\r\n\r\n", 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, Options{
					HeaderTimeout: 2 * time.Second, ReadTimeout: 4 * time.Second, IdleTimeout: 7 * time.Second,
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }),
				})
				conn := testkit.Must(f.pipes.dial(t.Context(), "", ""))(t)
				began := time.Now()
				go func() { _, _ = io.WriteString(conn, c.sent) }()
				if _, err := io.Copy(io.Discard, conn); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); d != c.want {
					t.Errorf("let go after %v, want %v", d, c.want)
				}
				testkit.Check(t, conn.Close())
			})
		})
	}
}

func TestAHeaderTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{MaxHeader: 1 << 10, Handler: http.NotFoundHandler()})
		conn := testkit.Must(f.pipes.dial(t.Context(), "", ""))(t)
		go func() {
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: server.test\r\nLong: "+strings.Repeat("x", 8<<10))
		}()
		resp := testkit.Must(http.ReadResponse(bufio.NewReader(conn), nil))(t)
		if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %s", resp.Status)
		}
		testkit.Check(t, conn.Close())
	})
}

// An answer that takes too long is cut, unless its route has been given more time.
func TestWriteWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMux(MuxOptions{})
		slow := func(w http.ResponseWriter, _ *http.Request) error {
			time.Sleep(time.Minute)
			_, err := io.WriteString(w, "whole")
			return err
		}
		m.Handle("GET /ordinary", ProblemJSON, slow)
		m.Handle("GET /long", ProblemJSON, WriteWithin(2*time.Minute, slow))
		f := newFixture(t, Options{WriteTimeout: 5 * time.Second, Handler: m})
		if got, err := f.get("/ordinary"); err == nil {
			t.Errorf("an answer past its time: %q", got)
		}
		if got, err := f.get("/long"); got != "whole" || err != nil {
			t.Errorf("a long answer: %q, %v", got, err)
		}
	})
}

// The stream passes everything a request passes on its way, and each event is there before the next is made.
func TestEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, log := testkit.NewLogger()
		m := NewMux(MuxOptions{Logger: logger})
		next := make(chan string)
		m.Handle("GET /events/{lane}", ProblemJSON, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			control := http.NewResponseController(w)
			for {
				if err := errors.Join(control.SetWriteDeadline(time.Now().Add(time.Second)), control.Flush()); err != nil {
					return err
				}
				select {
				case <-Draining(r.Context()):
					return nil
				case event := <-next:
					if _, err := io.WriteString(w, "data: "+event+"\n\n"); err != nil {
						return err
					}
				}
			}
		})
		f := newFixture(t, Options{WriteTimeout: 5 * time.Second, Handler: m})
		resp := testkit.Must(f.client.Get("http://server.test/events/left"))(t)
		lines := bufio.NewScanner(resp.Body)
		for _, event := range []string{"one", "two", "three"} {
			time.Sleep(time.Minute) // far past the server's own time for an answer
			next <- event
			if !lines.Scan() || lines.Text() != "data: "+event || !lines.Scan() || lines.Text() != "" {
				t.Fatalf("read %q, %v", lines.Text(), lines.Err())
			}
		}
		f.stop()
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("after the end: %q, %v", lines.Text(), lines.Err())
		}
		if err := f.wait(); err != nil {
			t.Errorf("ended with %v", err)
		}
		want := `route="GET /events/{lane}" status=200 bytes=35 duration=3m0s`
		if log.Count(want) != 1 || log.Count("left") != 0 {
			t.Errorf("logged %s", log)
		}
	})
}

func TestConnContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, Options{
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				return context.WithValue(ctx, key{}, "this one")
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Context().Value(key{}).(string))
			}),
		})
		if got, err := f.get("/"); got != "this one" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}
