package screen

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

func TestEveryOutcomeIsToldInCodeColourAndWordsOnly(t *testing.T) {
	f := newFixture(t, Options{Language: "ko", Second: "en"})
	page := f.listen("")
	want := map[visit.Outcome]string{ // the colour of each outcome
		visit.Admitted: "green", visit.AdmittedAgain: "green", visit.CodeUsed: "amber", visit.Expired: "amber", visit.NotYetValid: "amber",
		visit.UnknownIssuer: "red", visit.NotGenuine: "red", visit.NotACode: "amber", visit.OutOfService: "red",
	}
	for _, o := range visit.Outcomes() {
		f.Show(o, "front", maxCalls, time.Time{})
		text := page.next("outcome")
		var fields map[string]any
		testkit.Check(t, json.Unmarshal([]byte(text), &fields))
		hold, _ := fields["hold"].(float64)
		if hold <= 0 || hold > float64(maxCalls.Milliseconds()) {
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
	f := newFixture(t, Options{Language: "ko", Words: map[string]map[string]string{"ko": {"admitted": "어서 오세요", "idle": "QR을 대 주세요"}}})
	page := f.listen("")
	f.Show(visit.Admitted, "", maxCalls, time.Time{})
	if text := page.next("outcome"); !strings.Contains(text, "어서 오세요") {
		t.Errorf("event = %s", text)
	}
	f.Show(visit.Expired, "", maxCalls, time.Time{})
	if text := page.next("outcome"); !strings.Contains(text, sounds.Words(visit.Expired, "ko")) {
		t.Errorf("event = %s", text)
	}
	if _, body := f.get("/", nil); !strings.Contains(body, "QR을 대 주세요") {
		t.Errorf("page = %s", body)
	}
}

func TestLanePagesSeeTheirLaneAlone(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	left, all := f.listen("?lane=left"), f.listen("")
	left.next("status")
	all.next("status")
	f.Show(visit.Expired, "right", maxCalls, time.Time{})
	if text := all.next("outcome"); !strings.Contains(text, `"expired"`) {
		t.Errorf("the page for all lanes got %s", text)
	}
	f.Show(visit.Admitted, "left", maxCalls, time.Time{})
	if text := left.next("outcome"); !strings.Contains(text, `"admitted"`) {
		t.Errorf("the left page got %s", text)
	}
}

func TestPageThatComesLateSeesWhatIsStillOn(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	f.Show(visit.NotGenuine, "front", maxCalls, time.Time{})
	if text := f.listen("").next("outcome"); !strings.Contains(text, `"not-genuine"`) {
		t.Errorf("event = %s", text)
	}
	f.Show(visit.Admitted, "front", 0, time.Time{})
	page := f.listen("")
	page.next("status")
	f.Show(visit.Expired, "front", maxCalls, time.Time{})
	if text := page.next("outcome"); !strings.Contains(text, `"expired"`) {
		t.Errorf("an outcome that was over came first: %s", text)
	}
}

func TestStatusIsToldAtOnceAndOnChange(t *testing.T) {
	f := newFixture(t, Options{Language: "en"})
	f.set(Status{InService: true, Reached: true, Backlog: 3})
	page := f.listen("")
	text := page.next("status")
	for _, want := range []string{`"inService":true`, `"reached":true`, "3 waiting to be sent", "Connected"} {
		if !strings.Contains(text, want) {
			t.Errorf("status = %s, want %s", text, want)
		}
	}
	f.set(Status{InService: false})
	for !strings.Contains(text, `"inService":false`) {
		text = page.next("status")
	}
}

// TestStalledPageNeverHoldsUpTheGate opens as many pages as there may be, none of which ever reads.
func TestStalledPageNeverHoldsUpTheGate(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	for range maxPages {
		c, err := net.Dial("tcp", f.listener.Addr().String())
		testkit.Check(t, err)
		defer c.Close()
		testkit.Check(t, c.(*net.TCPConn).SetReadBuffer(1))
		fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: %s\r\n\r\n", f.listener.Addr())
	}
	f.awaitPages(maxPages)
	const shows = 200_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range shows {
			f.Show(visit.Outcomes()[i%len(visit.Outcomes())], "front", maxCalls, time.Time{})
		}
	}()
	testkit.Soon(t, "every outcome shown", done)
	// The other pages go on, and pages that do not read lose their place after the write limit.
	if r, _ := f.get("/healthz", nil); r.StatusCode == 0 {
		t.Error("no answer")
	}
	var sum uint64
	for _, n := range f.tally.totals() {
		sum += n
	}
	if sum != shows {
		t.Errorf("counted %d, want %d", sum, shows)
	}
}

func (f *fixture) awaitPages(n int) {
	f.t.Helper()
	testkit.Eventually(f.t, fmt.Sprintf("%d pages open", n), func() bool { return f.hub.open() == n })
}

func TestClosedPagesGiveTheirPlaceBack(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	for range 3 * maxPages {
		page := f.listen("")
		page.next("status")
		page.close()
		f.awaitPages(0)
	}
}

func TestAnOutcomeIsNeverShownLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Screen{hub: newHub(), tally: newTally(), opts: Options{Now: time.Now}, maxHold: maxHold}
		shows := func() time.Duration {
			_, left, _ := s.hub.take(s.hub.join("", ""))
			return left
		}
		s.Show(visit.Admitted, "front", time.Hour, time.Time{})
		if left := shows(); left != maxHold {
			t.Errorf("shown for %v, want %v", left, maxHold)
		}
		time.Sleep(maxHold)
		if left := shows(); left > 0 {
			t.Errorf("shown for %v more", left)
		}
		s.Show(visit.Admitted, "front", time.Second, time.Time{})
		if left := shows(); left != time.Second {
			t.Errorf("shown for %v, want a second", left)
		}
	})
}

// What a page could begin to show only when somebody else stands before the gate, it is not told.
func TestAnOutcomeIsNotShownLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Screen{hub: newHub(), tally: newTally(), opts: Options{Now: time.Now}, maxHold: maxHold}
		shows := func() bool {
			_, _, ok := s.hub.take(s.hub.join("", ""))
			return ok
		}
		s.Show(visit.Admitted, "front", maxHold, time.Now().Add(time.Second))
		time.Sleep(time.Second - 1)
		if !shows() {
			t.Error("it is not shown in time")
		}
		time.Sleep(time.Nanosecond)
		if shows() {
			t.Error("it is shown late")
		}
	})
}

// An outcome that belies the status has it asked anew, so that a gate that has just failed does not go on inviting.
func TestOutOfServiceIsKnownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := Status{InService: true}
		s := &Screen{
			hub: newHub(), tally: newTally(), maxHold: maxHold, doubt: make(chan struct{}, 1),
			opts: Options{Now: time.Now, Status: func() Status { return status }},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.poll(ctx) }()
		synctest.Wait()
		status.InService = false
		s.Show(visit.OutOfService, "front", maxHold, time.Time{})
		synctest.Wait()
		if known, _ := s.current(); known.InService {
			t.Error("the status is still that of before")
		}
		cancel()
		<-ended
	})
}

func TestRequestsAreLoggedWithoutContent(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	page := f.listen("?lane=chosen-by-a-stranger")
	page.next("status")
	f.get("/chosen-by-a-stranger?or=chosen-by-a-stranger", http.Header{"User-Agent": {"chosen-by-a-stranger"}})
	f.stop()
	if f.log.Count("chosen-by-a-stranger") > 0 || f.log.Count(`level=DEBUG msg=request method=GET route="GET /events" status=200`) != 1 ||
		f.log.Count("route=none status=404") != 1 {
		t.Errorf("logged %s", f.log)
	}
}
