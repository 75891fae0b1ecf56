package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// inBubble runs f in a bubble with both ends of one connection.
func inBubble(t *testing.T, f func(t *testing.T, client, server net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l := testkit.Must(n.Listen("server:1"))(t)
		client := testkit.Must(n.Dial(t.Context(), "tcp", "server:1"))(t)
		server := testkit.Must(l.Accept())(t)
		defer func() { client.Close(); server.Close(); l.Close() }()
		f(t, client, server)
	})
}

func TestBytesArriveInOrderAndOutliveTheirWriter(t *testing.T) {
	inBubble(t, func(t *testing.T, client, server net.Conn) {
		sent := bytes.Repeat([]byte("0123456789"), 3*maxUnread/10)
		go func() {
			_, _ = client.Write(sent)
			client.Close()
		}()
		if got := testkit.Must(io.ReadAll(server))(t); !bytes.Equal(got, sent) {
			t.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(sent))
		}
	})
}

func TestAWriteWaitsOnlyWhenTooMuchIsUnread(t *testing.T) {
	inBubble(t, func(t *testing.T, client, server net.Conn) {
		if n, err := client.Write(make([]byte, maxUnread)); n != maxUnread || err != nil {
			t.Fatalf("%d bytes written before any is read: %v", n, err)
		}
		written := make(chan int)
		go func() { n, _ := client.Write([]byte("one")); written <- n }()
		synctest.Wait()
		select {
		case <-written:
			t.Fatal("more was written than may be unread")
		default:
		}
		testkit.Must(io.ReadFull(server, make([]byte, 3)))(t)
		if n := <-written; n != 3 {
			t.Errorf("%d bytes written once there was space", n)
		}
	})
}

func TestOperationsOfClosedConnections(t *testing.T) {
	for rule, c := range map[string]struct {
		do   func(client, server net.Conn) error
		want error
	}{
		"reading what the other end closed": {func(client, server net.Conn) error {
			server.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, io.EOF},
		"writing to what the other end closed": {func(client, server net.Conn) error {
			server.Close()
			_, err := client.Write([]byte("a"))
			return err
		}, syscall.EPIPE},
		"reading from one's own closed end": {func(client, _ net.Conn) error {
			client.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		"writing to one's own closed end": {func(client, _ net.Conn) error {
			client.Close()
			_, err := client.Write([]byte("a"))
			return err
		}, net.ErrClosed},
		"a read that was waiting when its end closed": {func(client, _ net.Conn) error {
			time.AfterFunc(time.Second, func() { client.Close() })
			_, err := client.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
	} {
		t.Run(rule, func(t *testing.T) {
			inBubble(t, func(t *testing.T, client, server net.Conn) {
				if err := c.do(client, server); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestDeadlinesPassInSyntheticTime(t *testing.T) {
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c net.Conn) error { _, err := c.Write(make([]byte, maxUnread+1)); return err }
	for rule, c := range map[string]struct {
		set  func(net.Conn)
		op   func(net.Conn) error
		want time.Duration // after which the operation ends
	}{
		"a read":      {func(c net.Conn) { c.SetReadDeadline(time.Now().Add(time.Hour)) }, read, time.Hour},
		"a write":     {func(c net.Conn) { c.SetWriteDeadline(time.Now().Add(time.Hour)) }, write, time.Hour},
		"both":        {func(c net.Conn) { c.SetDeadline(time.Now().Add(time.Hour)) }, read, time.Hour},
		"in the past": {func(c net.Conn) { c.SetDeadline(time.Unix(1, 0)) }, read, 0},
		"a later one in its place": {func(c net.Conn) {
			c.SetDeadline(time.Now().Add(time.Minute))
			c.SetDeadline(time.Now().Add(time.Hour))
		}, read, time.Hour},
		"set while the read waits": {func(c net.Conn) {
			time.AfterFunc(time.Minute, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		}, read, time.Minute},
	} {
		t.Run(rule, func(t *testing.T) {
			inBubble(t, func(t *testing.T, client, _ net.Conn) {
				start := time.Now()
				c.set(client)
				err := c.op(client)
				var timeout net.Error
				if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Errorf("%v", err)
				}
				if took := time.Since(start); took != c.want {
					t.Errorf("ended after %v, want %v", took, c.want)
				}
				testkit.Check(t, client.SetDeadline(time.Time{}))
				if n, err := client.Write(nil); n != 0 || err != nil {
					t.Errorf("without the deadline it does not work again: %v", err)
				}
			})
		})
	}
}

func TestListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		if _, err := n.Dial(t.Context(), "tcp", "server:1"); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("nobody listens: %v", err)
		}
		l := testkit.Must(n.Listen("server:1"))(t)
		if _, err := n.Listen("server:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("two listeners at one address: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := n.Dial(ended, "tcp", "server:1"); !errors.Is(err, context.Canceled) {
			t.Errorf("dialling for a context that has ended: %v", err)
		}
		waiting := testkit.Must(n.Dial(t.Context(), "tcp", "server:1"))(t)
		testkit.Check(t, l.Close())
		if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection that was not accepted: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting after the close: %v", err)
		}
		again := testkit.Must(n.Listen("server:1"))(t)
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second close: %v", err)
		}
		testkit.Must(n.Dial(t.Context(), "tcp", "server:1"))(t)
		testkit.Check(t, again.Close())
	})
}

// HTTP with its own deadlines, keep-alive and background reads: a time-out of half a minute takes no time at all.
func TestHTTPInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		l := testkit.Must(n.Listen("server:80"))(t)
		s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/never" {
				<-r.Context().Done()
			}
			_, _ = io.Copy(w, r.Body)
		})}
		ended := make(chan error)
		go func() { ended <- s.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: n.Dial}, Timeout: 30 * time.Second}
		for range 2 {
			resp := testkit.Must(client.Post("http://server/echo", "text/plain", strings.NewReader("hello")))(t)
			if b := testkit.Must(io.ReadAll(resp.Body))(t); string(b) != "hello" {
				t.Errorf("answered %q", b)
			}
			resp.Body.Close()
		}
		start := time.Now()
		if _, err := client.Get("http://server/never"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("ended after %v: %v", time.Since(start), err)
		}
		client.CloseIdleConnections()
		testkit.Check(t, s.Close())
		if err := <-ended; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
}
