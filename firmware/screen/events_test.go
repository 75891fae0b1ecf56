package screen

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

func TestEveryOutcomeIsToldInCodeColourAndWordsOnly(t *testing.T) {
	g := start(t, Options{Language: "ko", Second: "en"})
	page := g.listen("")
	want := map[visit.Outcome]string{ // the colour of each outcome
		visit.Admitted: "green", visit.AdmittedAgain: "green", visit.Expired: "amber", visit.NotYetValid: "amber",
		visit.UnknownIssuer: "red", visit.NotGenuine: "red", visit.NotACode: "amber", visit.OutOfService: "red",
	}
	for _, o := range visit.Outcomes() {
		g.Show(o, "front", 2500*time.Millisecond)
		text := page.next("outcome")
		var fields map[string]any
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatal(err)
		}
		hold, _ := fields["hold"].(float64)
		if hold <= 0 || hold > 2500 {
			t.Errorf("%v: hold = %v", o, fields["hold"])
		}
		delete(fields, "hold")
		got := fmt.Sprint(fields)
		if w := fmt.Sprint(map[string]any{"outcome": o.String(), "colour": want[o], "words": sounds.Words(o, "ko"), "second": sounds.Words(o, "en")}); got != w {
			t.Errorf("event = %s, want %s", got, w)
		}
		if green := want[o] == "green"; green != o.Green() {
			t.Errorf("%v is %s", o, want[o])
		}
	}
}

func TestVenuesOwnWordsReplaceThoseShipped(t *testing.T) {
	g := start(t, Options{Language: "ko", Words: map[string]map[string]string{"ko": {"admitted": "어서 오세요", "idle": "QR을 대 주세요"}}})
	page := g.listen("")
	g.Show(visit.Admitted, "", time.Second)
	if text := page.next("outcome"); !strings.Contains(text, "어서 오세요") {
		t.Errorf("event = %s", text)
	}
	g.Show(visit.Expired, "", time.Second)
	if text := page.next("outcome"); !strings.Contains(text, sounds.Words(visit.Expired, "ko")) {
		t.Errorf("event = %s", text)
	}
	if _, body := g.get("/", nil); !strings.Contains(body, "QR을 대 주세요") {
		t.Errorf("page = %s", body)
	}
}

func TestLanePagesSeeTheirLaneAlone(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	left, all := g.listen("?lane=left"), g.listen("")
	left.next("status")
	all.next("status")
	g.Show(visit.Expired, "right", time.Second)
	if text := all.next("outcome"); !strings.Contains(text, `"expired"`) {
		t.Errorf("the page for all lanes got %s", text)
	}
	g.Show(visit.Admitted, "left", time.Second)
	if text := left.next("outcome"); !strings.Contains(text, `"admitted"`) {
		t.Errorf("the left page got %s", text)
	}
}

func TestPageThatComesLateSeesWhatIsStillOn(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	g.Show(visit.NotGenuine, "front", maxHold)
	if text := g.listen("").next("outcome"); !strings.Contains(text, `"not-genuine"`) {
		t.Errorf("event = %s", text)
	}
	g.Show(visit.Admitted, "front", 0)
	page := g.listen("")
	page.next("status")
	g.Show(visit.Expired, "front", maxHold)
	if text := page.next("outcome"); !strings.Contains(text, `"expired"`) {
		t.Errorf("an outcome that was over came first: %s", text)
	}
}

func TestStatusIsToldAtOnceAndOnChange(t *testing.T) {
	g := start(t, Options{Language: "en"})
	g.set(Status{InService: true, Reached: true, Backlog: 3})
	page := g.listen("")
	text := page.next("status")
	for _, want := range []string{`"inService":true`, `"reached":true`, "3 waiting to be sent", "Connected"} {
		if !strings.Contains(text, want) {
			t.Errorf("status = %s, want %s", text, want)
		}
	}
	g.set(Status{InService: false})
	for !strings.Contains(text, `"inService":false`) {
		text = page.next("status")
	}
}

// TestStalledPageNeverHoldsUpTheGate opens as many pages as there may be, none of which ever reads.
func TestStalledPageNeverHoldsUpTheGate(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	for range maxPages {
		c, err := net.Dial("tcp", g.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.(*net.TCPConn).SetReadBuffer(1); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", g.listener.Addr())
	}
	g.awaitPages(maxPages)
	status, _ := g.get("/events", nil)
	if status.StatusCode != http.StatusServiceUnavailable || status.Header.Get("Retry-After") == "" {
		t.Errorf("one page more than may be: %s", status.Status)
	}
	const shows = 200_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range shows {
			g.Show(visit.Outcomes()[i%8], "front", maxHold)
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Show blocks")
	}
	// The other pages go on, and pages that do not read lose their place after the write limit.
	if r, _ := g.get("/healthz", nil); r.StatusCode == 0 {
		t.Error("no answer")
	}
	var sum uint64
	for _, n := range g.tally.totals() {
		sum += n
	}
	if sum != shows {
		t.Errorf("counted %d, want %d", sum, shows)
	}
}

func (g *running) awaitPages(n int) {
	g.t.Helper()
	for until := time.Now().Add(patience); g.hub.open() != n; {
		if time.Now().After(until) {
			g.t.Fatalf("%d pages are open, want %d", g.hub.open(), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestClosedPagesGiveTheirPlaceBack(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	for range 3 * maxPages {
		page := g.listen("")
		page.next("status")
		page.close()
		g.awaitPages(0)
	}
}
