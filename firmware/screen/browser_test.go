package screen

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/sounds"
)

var shots = flag.String("shots", "", "folder to write pictures of every state of the screen to")

func shoot(b *browser, name string) {
	if *shots != "" {
		b.screenshot(filepath.Join(*shots, name+".png"))
	}
}

// look is what a visitor would see, measured in the page.
type look struct {
	First, Second, Symbol, Colour, State string
	Symbols                              int     // shown at once
	Size                                 float64 // of the first language's letters, in pixels
	Inside                               bool    // everything that is shown lies within the window, nothing overlaps
	Contrast                             float64 // of the words on their background, WCAG 2.2 section 1.4.3
	SmallContrast                        float64 // the least of all smaller texts
}

const lookScript = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
	const lum = (c) => { const [r, g, b] = rgb(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const back = lum(getComputedStyle(document.body).backgroundColor);
	const ratio = (e) => { const t = lum(getComputedStyle(e).color); return (Math.max(t, back) + 0.05) / (Math.min(t, back) + 0.05); };
	const byId = (id) => document.getElementById(id);
	const range = (id) => { const r = document.createRange(); r.selectNodeContents(byId(id)); return r.getBoundingClientRect(); };
	const symbols = [...document.querySelectorAll("#symbol svg")].filter((e) => getComputedStyle(e).display !== "none");
	const boxes = ["first", "second", "paper", "corner"].filter((id) => byId(id).textContent).map(range);
	boxes.push(...symbols.map((e) => e.getBoundingClientRect()));
	const inside = boxes.every((r) => r.left >= 0 && r.top >= 0 && r.right <= innerWidth + 0.5 && r.bottom <= innerHeight + 0.5);
	const apart = boxes.every((a, i) => boxes.every((b, j) => i >= j || a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1));
	return {
		First: byId("first").textContent, Second: byId("second").textContent, Symbol: symbols.map((e) => e.dataset.for).join(),
		Colour: document.body.dataset.colour, State: document.body.dataset.state, Symbols: symbols.length,
		Size: parseFloat(getComputedStyle(byId("first")).fontSize), Inside: inside && apart,
		Contrast: ratio(byId("first")), SmallContrast: Math.min(ratio(byId("second")), ratio(byId("paper")), ratio(byId("corner"))),
	};
})()`

// look waits until a condition on the page's body holds, and returns what is seen then.
func (b *browser) look(condition string) look {
	b.t.Helper()
	var l look
	b.when(condition, lookScript, &l)
	l.First, l.Second = unbroken(l.First), unbroken(l.Second)
	return l
}

// unbroken leaves out where lines break.
func unbroken(text string) string { return strings.Join(strings.Fields(text), "") }

var sizes = []struct{ width, height int }{{480, 800}, {800, 480}, {1080, 1920}, {1920, 1080}}

// TestEveryOutcomeIsReadableOnEveryScreen shows every outcome, in each pair of languages and on each kind of screen.
func TestEveryOutcomeIsReadableOnEveryScreen(t *testing.T) {
	b := openBrowser(t)
	for _, languages := range [][2]string{{"ko", "en"}, {"ko", ""}, {"vi", "ja"}, {"zh", "vi"}} {
		f := newFixture(t, Options{Language: languages[0], Second: languages[1]})
		f.set(Status{InService: true, Reached: true, Clock: visit.ClockSynced})
		for _, size := range sizes {
			b.size(size.width, size.height)
			f.Show(visit.Admitted, "front", 0, time.Time{}) // what was on before is over
			b.open(f.URL())
			b.until(`document.body.dataset.network === "online"`)
			const idle = `document.body.dataset.state === "idle"`
			kind := fmt.Sprintf("%s%s-%dx%d", languages[0], languages[1], size.width, size.height)
			check := func(name, condition string, want look) {
				t.Helper()
				got := b.look(condition)
				shoot(b, kind+"-"+name)
				if got.First != unbroken(want.First) || got.Second != unbroken(want.Second) || got.Colour != want.Colour || got.State != want.State {
					t.Errorf("%s: %s shows %+v, want %+v", kind, name, got, want)
				}
				short := float64(min(size.width, size.height))
				if !got.Inside || got.Symbols != 1 || got.Size < 0.05*short {
					t.Errorf("%s: %s does not fit: %+v", kind, name, got)
				}
				if got.Contrast < 6 || got.SmallContrast < 4.5 {
					t.Errorf("%s: %s has too little contrast: %.1f and %.1f", kind, name, got.Contrast, got.SmallContrast)
				}
			}
			second := func(text func(string) string) string {
				if languages[1] == "" {
					return ""
				}
				return text(languages[1])
			}
			check("idle", idle, look{First: sounds.Idle(languages[0]), Second: second(sounds.Idle), Colour: "none", State: "idle"})
			for _, o := range visit.Outcomes() {
				f.Show(o, "front", maxCalls, time.Time{})
				check(o.String(), fmt.Sprintf("document.body.dataset.outcome === %q", o), look{
					First: sounds.Words(o, languages[0]), Second: second(func(l string) string { return sounds.Words(o, l) }),
					Colour: o.Signal().String(), State: "outcome",
				})
			}
		}
		f.stop()
	}
	for _, p := range append(b.took("Runtime.exceptionThrown"), b.took("Runtime.consoleAPICalled")...) {
		t.Errorf("the page complained: %s", p)
	}
	for _, p := range b.took("Log.entryAdded") {
		if strings.Contains(string(p), "Content Security Policy") {
			t.Errorf("the page breaks its policy: %s", p)
		}
	}
	for _, p := range b.took("Network.requestWillBeSent") {
		var sent struct{ Request struct{ URL string } }
		testkit.Check(t, json.Unmarshal(p, &sent))
		if u := sent.Request.URL; !strings.HasPrefix(u, "http://127.0.0.1:") && !strings.HasPrefix(u, "data:,") {
			t.Errorf("the page asked for %s", u)
		}
	}
}

func TestPageGoesBackToIdleAfterTheHold(t *testing.T) {
	b := openBrowser(t)
	f := newFixture(t, Options{Language: "ko"})
	f.set(Status{InService: true, Reached: true})
	b.open(f.URL())
	b.until(`document.body.dataset.network === "online"`)
	b.eval(`window.trace = []; new MutationObserver(() => { const s = document.body.dataset.state + " " + document.body.dataset.colour;
		if (trace.at(-1) !== s) trace.push(s); }).observe(document.body, {attributes: true}); 0`, nil)
	testkit.Eventually(t, "the outcome on the page", func() (seen bool) { // again, should the page be too late for it
		f.Show(visit.Admitted, "front", time.Second, time.Time{})
		b.eval(`trace.some((s) => s.startsWith("outcome"))`, &seen)
		return seen
	})
	b.until(`document.body.dataset.state === "idle"`)
	var trace []string
	b.eval("trace", &trace)
	if got := strings.Join(trace, ", "); !strings.HasPrefix(got, "outcome") || !strings.Contains(got, "outcome green") || !strings.HasSuffix(got, "idle none") {
		t.Errorf("the page went through %s", got)
	}
	var first string
	b.eval(`document.getElementById("first").textContent`, &first)
	if first != "QR 코드를 보여주세요" {
		t.Errorf("idle words = %q", first)
	}
}

func TestPageTellsWhenTheGateIsDownOrGoneAndComesBack(t *testing.T) {
	b := openBrowser(t)
	b.size(800, 480)
	f := newFixture(t, Options{Language: "ko", Second: "en"})
	f.set(Status{InService: true, Reached: false, Backlog: 12})
	b.open(f.URL())
	var corner string
	b.when(`document.body.dataset.network === "offline" && document.body.dataset.state === "idle"`, `document.getElementById("corner").textContent`, &corner)
	if !strings.Contains(corner, "12") || !strings.Contains(corner, "오프라인") {
		t.Errorf("corner = %q, want network and backlog", corner)
	}
	shoot(b, "offline-800x480")
	paper := func(when, condition string) {
		t.Helper()
		l := b.look(condition)
		if l.First != unbroken("기기 점검이 필요합니다. 수기명부를 작성해 주세요.") || l.Symbol != "out-of-service" || !l.Inside || l.Contrast < 6 {
			t.Errorf("%s the page shows %+v", when, l)
		}
	}
	f.set(Status{InService: false, Faults: faults})
	const down = `document.body.dataset.state === "down"`
	paper("out of service", down)
	shoot(b, "down-800x480")
	b.size(1080, 1920)
	paper("out of service, upright", down)
	shoot(b, "down-1080x1920")
	f.set(Status{InService: true, Reached: true})
	b.until(`document.body.dataset.state === "idle"`)

	f.stop()
	paper("without the gate", `document.body.dataset.state === "gone"`)
	again := newFixture(t, Options{Language: "ko", Second: "en", Listener: testkit.Must(net.Listen("tcp", f.listener.Addr().String()))(t)})
	again.set(Status{InService: true, Reached: true})
	b.until(`document.body.dataset.state === "idle"`)
	again.Show(visit.Admitted, "front", maxCalls, time.Time{})
	b.until(`document.body.dataset.outcome === "admitted"`)
}

func TestTechniciansPageShowsFaultsAndCounts(t *testing.T) {
	b := openBrowser(t)
	b.size(800, 480)
	f := newFixture(t, Options{Language: "ko", Version: "1.2.3"})
	f.Show(visit.Expired, "front", time.Second, time.Time{})
	f.set(Status{InService: false, Backlog: 7, Faults: faults})
	b.open(f.URL() + "technician")
	var text string
	b.eval("document.body.innerText", &text)
	for _, want := range []string{"스캐너를 찾을 수 없습니다", "A reader is missing", "reader-lost front", "no such file: /dev/ttyACM0", "중지", "1.2.3", "offline"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	var wide bool
	b.eval("document.documentElement.scrollWidth > innerWidth", &wide)
	if wide {
		t.Error("the page is wider than the window")
	}
	shoot(b, "technician-800x480")
}
