package screen

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/sounds"
	"github.com/kipass/kipass/visit"
)

// running is a screen that serves, with a status the test sets.
type running struct {
	*Screen
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
	once   sync.Once

	mu     sync.Mutex
	status Status
}

func start(t *testing.T, o Options) *running {
	t.Helper()
	g := &running{t: t, done: make(chan error, 1)}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	o.Status = func() Status { g.mu.Lock(); defer g.mu.Unlock(); return g.status }
	o.Log = slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Screen = s
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.done <- s.Run(ctx) }()
	t.Cleanup(g.stop)
	return g
}

// set changes the status and waits until the screen has asked for it.
func (g *running) set(s Status) {
	g.t.Helper()
	g.mu.Lock()
	g.status = s
	g.mu.Unlock()
	for since := time.Now(); ; {
		g.Screen.mu.Lock()
		asked := g.asked
		g.Screen.mu.Unlock()
		if asked.After(since) {
			return
		}
		if time.Since(since) > patience {
			g.t.Fatal("the screen does not ask for the status")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (g *running) stop() {
	g.once.Do(func() {
		g.cancel()
		select {
		case err := <-g.done:
			if err != nil {
				g.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			g.t.Error("Run did not return")
		}
	})
}

var faults = []health.Fault{
	{Code: health.JournalFull, Detail: "63 MiB free, 64 MiB wanted", Since: time.Now().Add(-time.Minute)},
	{Code: health.ReaderLost, Subject: "front", Detail: "no such file: /dev/ttyACM0", Since: time.Now().Add(-time.Hour)},
}

// listener is a page without a browser.
type listener struct {
	t      *testing.T
	events chan [2]string // name and data
	close  func()
}

func (g *running) listen(query string) *listener {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL()+"events"+query, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	w, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	if w.StatusCode != http.StatusOK || w.Header.Get("Content-Type") != "text/event-stream" {
		g.t.Fatalf("events: %s %s", w.Status, w.Header.Get("Content-Type"))
	}
	l := &listener{t: g.t, events: make(chan [2]string, 1000)}
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(l.events)
		in := bufio.NewScanner(w.Body)
		var e [2]string
		for in.Scan() {
			switch name, value, _ := strings.Cut(in.Text(), ": "); name {
			case "event":
				e[0] = value
			case "data":
				e[1] = value
			case "":
				if e[0] != "" {
					l.events <- e
				}
				e = [2]string{}
			}
		}
	})
	l.close = sync.OnceFunc(func() { cancel(); w.Body.Close(); reader.Wait() })
	g.t.Cleanup(l.close)
	return l
}

// next returns the data of the next event of a name.
func (l *listener) next(name string) string {
	l.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				l.t.Fatalf("the stream ended before an event %s", name)
			}
			if e[0] == name {
				return e[1]
			}
		case <-late:
			l.t.Fatalf("no event %s came", name)
		}
	}
}

func TestEveryOutcomeIsToldInCodeColourAndWordsOnly(t *testing.T) {
	g := start(t, Options{Language: "ko", Second: "en"})
	page := g.listen("")
	want := map[visit.Outcome]string{ // the lights of outcomes.md
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

func (g *running) get(path string, header http.Header) (*http.Response, string) {
	g.t.Helper()
	r, err := http.NewRequest(http.MethodGet, strings.TrimSuffix(g.URL(), "/")+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return w, string(body)
}

func TestPagesAreForThisDeviceAlone(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	_, port, _ := net.SplitHostPort(g.listener.Addr().String())
	for _, c := range []struct {
		rule, host, site, mode string
		want                   int
	}{
		{"the address itself", "127.0.0.1:" + port, "", "", 200},
		{"localhost", "localhost:" + port, "same-origin", "cors", 200},
		{"a link from elsewhere", "localhost:" + port, "cross-site", "navigate", 200},
		{"a rebound name", "evil.example:" + port, "", "", 421},
		{"a rebound name that looks near", "127.0.0.1.evil.example:" + port, "", "", 421},
		{"another port", "127.0.0.1:1", "", "", 421},
		{"no port", "127.0.0.1", "", "", 421},
		{"a fetch from another site", "127.0.0.1:" + port, "cross-site", "cors", 403},
		{"a fetch from another port", "127.0.0.1:" + port, "same-site", "no-cors", 403},
	} {
		for _, path := range []string{"/", "/technician", "/metrics"} {
			h := http.Header{"Host": {c.host}}
			if c.site != "" {
				h.Set("Sec-Fetch-Site", c.site)
				h.Set("Sec-Fetch-Mode", c.mode)
			}
			if w, _ := g.get(path, h); w.StatusCode != c.want {
				t.Errorf("%s: GET %s = %d, want %d", c.rule, path, w.StatusCode, c.want)
			}
		}
	}
	w, _ := g.get("/", nil)
	policy := w.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || len(w.Cookies()) > 0 || w.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers = %v", w.Header)
	}
	for _, path := range []string{"/web/visitor.html", "/visitor.html", "/screen.css/", "/nothing"} {
		if w, _ := g.get(path, nil); w.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, w.StatusCode)
		}
	}
}

func TestScreenRefusesTheNetwork(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "example.com:80", "127.0.0.1"} {
		s, err := New(Options{Listen: address, Language: "ko", Status: func() Status { return Status{} }, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			s.Close()
			t.Errorf("listens on %s", address)
		}
	}
}

func TestPortInUseIsToldAtOnce(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	_, err := New(Options{Listen: g.listener.Addr().String(), Language: "ko", Status: func() Status { return Status{} }, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error = %v", err)
	}
}

func TestHealthzFollowsTheStatus(t *testing.T) {
	g := start(t, Options{Language: "ko"})
	g.set(Status{InService: true})
	if w, body := g.get("/healthz", nil); w.StatusCode != 200 || body != "ok\n" {
		t.Errorf("in service: %d %q", w.StatusCode, body)
	}
	g.set(Status{})
	if w, body := g.get("/healthz", nil); w.StatusCode != 503 || !strings.Contains(body, "out of service") {
		t.Errorf("out of service: %d %q", w.StatusCode, body)
	}
	g.Screen.mu.Lock()
	g.Screen.asked = time.Now().Add(-2 * statusAge)
	g.Screen.status.InService = true
	_, fresh := Status{}, !g.Screen.asked.Before(time.Now().Add(-statusAge))
	g.Screen.mu.Unlock()
	if fresh {
		t.Error("an old status counts as fresh")
	}
}

func TestLanguagesAreThoseOfSoundsAndConfigs(t *testing.T) {
	if got, want := fmt.Sprint(configs.Languages()), fmt.Sprint(sounds.Languages()); got != want {
		t.Errorf("configs allows %s, sounds has %s", got, want)
	}
	for key := notePaper; key <= noteBacklog; key++ {
		for _, l := range sounds.Languages() {
			if note(key, l) == "" {
				t.Errorf("note %d has no words in %s", key, l)
			}
		}
	}
	for _, l := range sounds.Languages() {
		if strings.Count(note(noteBacklog, l), "%d") != 1 {
			t.Errorf("the backlog's words in %s have no place for the number", l)
		}
	}
}
