package screen

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
)

// byAddress stands for the kernel: users are told apart by the loopback address from which they come.
func byAddress(c net.Conn) string { return c.RemoteAddr().(*net.TCPAddr).IP.String() }

// crowd opens connections from an address and sends text on each; they stay open until the test ends, and nobody reads.
func (f *fixture) crowd(from string, n int, text string) {
	f.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	for range n {
		c := testkit.Must(d.Dial("tcp", f.listener.Addr().String()))(f.t)
		f.t.Cleanup(func() { _ = c.Close() })
		_, err := fmt.Fprint(c, text)
		if err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "pipe") {
			f.t.Fatal(err)
		}
	}
}

// Whatever another user's programs hold open, the visitor's screen has its stream, keeps it, and gets it again.
func TestAnotherUsersProgramsTakeNothingFromTheScreen(t *testing.T) {
	const other = "127.0.0.2"
	for rule, text := range map[string]string{
		"silent":           "",
		"half a request":   "GET /events HTTP/1.1\r\n",
		"streams":          "GET /events HTTP/1.1\r\nHost: ADDRESS\r\n\r\n",
		"answers not read": strings.Repeat("GET /technician HTTP/1.1\r\nHost: ADDRESS\r\n\r\n", 200),
		"idle":             "GET /healthz HTTP/1.1\r\nHost: ADDRESS\r\n\r\n",
	} {
		t.Run(rule, func(t *testing.T) {
			f := newFixtureOf(t, Options{Language: "ko"}, byAddress)
			page := f.listen("")
			page.next("status")
			f.crowd(other, maxConns+10, strings.ReplaceAll(text, "ADDRESS", f.listener.Addr().String()))
			f.Show(visit.Admitted, "front", maxCalls, time.Time{})
			if got := page.next("outcome"); !strings.Contains(got, `"admitted"`) {
				t.Errorf("the screen is told %s", got)
			}
			again := f.listen("")
			if got := again.next("outcome"); !strings.Contains(got, `"admitted"`) {
				t.Errorf("loaded again, the screen is told %s", got)
			}
			if w, _ := f.get("/", nil); w.StatusCode != http.StatusOK {
				t.Errorf("GET / = %s", w.Status)
			}
		})
	}
}

// Nor do pages of the same user: each is told how things stand before it has to make room.
func TestAPageThatIsLoadedAgainAlwaysGetsItsStream(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	first := f.listen("")
	first.next("status")
	f.Show(visit.Admitted, "front", maxCalls, time.Time{})
	f.crowd("127.0.0.1", maxPages, fmt.Sprintf("GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", f.listener.Addr()))
	for range 5 * maxPages {
		page := f.listen("")
		page.next("status")
		if got := page.next("outcome"); !strings.Contains(got, `"admitted"`) {
			t.Errorf("a page is told %s", got)
		}
		if n := f.hub.open(); n > maxPages {
			t.Fatalf("%d pages are open", n)
		}
	}
	for e := range first.events { // until the stream ends
		_ = e
	}
}

// Of pages whose connection the kernel does not know, or all of one user: the first one makes room, whatever it is.
func TestTheFirstPageMakesRoomForOneOfItsOwner(t *testing.T) {
	h := newHub()
	other := h.join("", "other")
	var own []*page
	for range maxPages + 2 {
		own = append(own, h.join("", "own"))
	}
	ended := func(p *page) bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	}
	for i, p := range own {
		if ended(p) != (i < 2) {
			t.Errorf("page %d of the owner's has ended: %v", i, ended(p))
		}
	}
	if ended(other) {
		t.Error("another owner's page made room")
	}
	for _, p := range append(own, other) {
		h.leave(p)
	}
	if n := h.open(); n != 0 {
		t.Errorf("%d pages are left", n)
	}
}
