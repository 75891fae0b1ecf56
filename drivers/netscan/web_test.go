package netscan

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/drivers/drivertest"
	"github.com/kipass/kipass/drivers/framing"
	"github.com/kipass/kipass/internal/testkit"
)

// TestBrowsersScanNothing has what a web page can have a browser do: none of it shows a code to the gate, and the technician
// hears of it. A scan service goes on.
func TestBrowsersScanNothing(t *testing.T) {
	code := drivertest.Code(1, 230)
	clock := testkit.NewClock(time.Now())
	r := newReader(t, Options{Listen: "tcp://127.0.0.1:0"})
	r.now = clock.Now
	at, reads := running(t, r)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, method := range []string{"GET", "POST", "PUT", "OPTIONS", "QUERY", "PROPFIND", "M-SEARCH", "own"} {
		req := testkit.Must(http.NewRequestWithContext(t.Context(), method, "http://"+at.String()+"/", strings.NewReader(code+"\r"+code+"\n")))(t)
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("%s was answered", method)
		}
	}
	if conn, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "gate"}); err == nil {
		conn.Close()
		t.Error("TLS was answered")
	}
	for rule, sent := range map[string]string{
		"a request byte by byte":   "POST / HTTP/1.1\r\nHost: x\r\n\r\n" + code + "\r",
		"blank lines before it":    "\r\n\r\nPOST / HTTP/1.1\r\n\r\n" + code + "\r",
		"a request to a proxy":     "GET http://x/" + code + " HTTP/1.1\r\n\r\n",
		"a tunnel":                 "CONNECT x:443 HTTP/1.1\r\n\r\n" + code + "\r",
		"HTTP/2 without asking":    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + code + "\r",
		"a page's own method":      "kip1 /" + code + " HTTP/1.1\r\n\r\n" + code + "\r",
		"an endless request":       "POST /" + strings.Repeat("x", maxFirst) + "\r" + code + "\r",
		"a request cut short":      "GET /" + code + " HTTP/1.1",
		"WebRTC over TCP":          "\x00\x5c\x00\x01\x00\x48\x21\x12\xa4\x42\r" + code + "\r",
		"WebRTC through a relay":   "\x00\x03\x01\x00\x21\x12\xa4\x42" + code + "\r",
		"an old TLS":               "\x16\x03\x00\x02\x00" + code + "\r",
		"a web socket":             "GET /?" + code + " HTTP/1.1\r\nUpgrade: websocket\r\n\r\n" + code + "\r",
		"a browser that reads XON": "OPTIONS * HTTP/1.1\r\n\r\n" + code + "\r",
	} {
		conn := dial(t, "tcp", at)
		for _, c := range []byte(sent) {
			if _, err := conn.Write([]byte{c}); err != nil {
				break // it was closed
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite() // fails if it was closed
		ended(t, conn)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), "브라우저") || !strings.Contains(err.Error(), "unix://") {
			t.Errorf("%s: Check says %v", rule, err)
		} else if strings.Contains(err.Error(), code[5:20]) {
			t.Errorf("%s: Check tells the code", rule)
		}
	}
	write(t, dial(t, "tcp", at), code+"\r")
	reads.Want(code) // and nothing before it
	clock.Add(toldFor)
	if err := r.Check(); err != nil {
		t.Errorf("Check still says %v", err)
	}

	udpAt, udpReads := running(t, newReader(t, Options{Listen: "udp://127.0.0.1:0"}))
	conn := dial(t, "udp", udpAt)
	write(t, conn, "\x00\x01\x00\x08\x21\x12\xa4\x42123456789012"+code)
	write(t, conn, "\x16\xfe\xfd"+code)
	write(t, conn, "\xc3\x00\x00\x00\x01\r"+code) // QUIC
	write(t, conn, "GOOD")
	udpReads.Want("GOOD")
}

// TestASlowBrowserScansNothing lets a silence end a frame at every word of a request: it stays one.
func TestASlowBrowserScansNothing(t *testing.T) {
	r := newReader(t, Options{Listen: "tcp://127.0.0.1:0", Framing: framing.Rule{Gap: 10 * time.Millisecond}})
	at, reads := running(t, r)
	conn := dial(t, "tcp", at)
	for _, word := range []string{"P", "OST", " /", " HTTP/1", ".1"} {
		write(t, conn, word)
		reads.Want(strings.TrimSpace(word))
	}
	_, _ = conn.Write([]byte("\r\n\r\n" + drivertest.Code(1, 230) + "\r"))
	ended(t, conn)
	if n := len(reads.Frames()); n > 0 {
		t.Errorf("%d frames were read", n)
	}
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "브라우저") {
		t.Errorf("Check says %v", err)
	}
}

// TestWhatOnlyBeginsLikeARequestIsShown holds that nothing is lost of what somebody shows to a scanner.
func TestWhatOnlyBeginsLikeARequestIsShown(t *testing.T) {
	at, reads := running(t, newReader(t, Options{Listen: "tcp://127.0.0.1:0"}))
	for _, text := range []string{
		"GET", "POST", "P", "GET ready", "CONN", "GETAWAY", "PATCH notes", "GET htm", "GET /", "POST /index.html", "OPTIONS *", "GET / HTTP",
		"GET / HTTP/1.1 and more", "GET http://example.kr/", "HTTP/1.1", "PRI * HTTP/2", "KIP1:GET / HTTP/1.1",
	} {
		for end, send := range map[string]func(net.Conn){
			"silence":    func(net.Conn) {},
			"terminator": func(conn net.Conn) { write(t, conn, "\r") },
			"the end":    func(conn net.Conn) { testkit.Check(t, conn.(*net.TCPConn).CloseWrite()) },
		} {
			conn := dial(t, "tcp", at)
			write(t, conn, text)
			send(conn)
			if got := reads.Next(); string(got.Data) != text {
				t.Fatalf("%q, ended by %s, was read as %q", text, end, got.Data)
			}
			if end != "the end" { // nor is what follows a request any more
				write(t, conn, "GET /index.html\r")
				reads.Want("GET /index.html")
			}
		}
	}
}

// FuzzJudge holds that a verdict that was given stands, whatever comes after, and that codes are let through.
func FuzzJudge(f *testing.F) {
	for _, s := range []string{"GET /", "\r\nPOST http", "\x16\x03\x01", "\x00\x01\x00\x00\x21\x12\xa4\x42", "KIP1:A", "CONNECT x", "OPTIONS *"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		given := open
		for n := range len(first) + 1 {
			v := judge(first[:n])
			if given != open && v != given {
				t.Fatalf("%q is %d, %q is %d", first[:n-1], given, first[:n], v)
			}
			given = v
		}
		if code := drivertest.Code(len(first), 230); judge([]byte(code)) != scans {
			t.Fatalf("%q is %d", code, judge([]byte(code)))
		}
	})
}
