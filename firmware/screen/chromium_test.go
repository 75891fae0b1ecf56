package screen

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

// chromium is a headless Chromium, driven by the DevTools protocol over its pipe (--remote-debugging-pipe): JSON
// messages ended by NUL on file descriptors 3 and 4. One serves all tests of the package; each has a page of its own.
type chromium struct {
	to      io.WriteCloser
	from    io.Closer
	command *exec.Cmd
	reader  sync.WaitGroup
	folder  string // of its profile

	mu      sync.Mutex
	next    int
	waiting map[int]chan reply
	events  map[string][]event // by session
	ended   bool               // its pipe is closed: no call is answered any more
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

type event struct {
	Method string
	Params json.RawMessage
}

// running is the Chromium of this package, started by the first test that needs it.
var running struct {
	start sync.Once
	*chromium
	err error
}

var errNoChromium = errors.New("there is no Chromium: install Debian's packages chromium and fonts-noto-cjk")

func TestMain(m *testing.M) {
	status := m.Run()
	if running.chromium != nil {
		if err := running.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "ending Chromium:", err)
			status = cmp.Or(status, 1)
		}
	}
	os.Exit(status)
}

func startChromium() (*chromium, error) {
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		return nil, errNoChromium
	}
	folder, err := os.MkdirTemp("", "kipass-chromium-")
	if err != nil {
		return nil, err
	}
	fromTest, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromBrowser, toTest, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c := &chromium{to: toBrowser, from: fromBrowser, folder: folder, waiting: map[int]chan reply{}, events: map[string][]event{}}
	c.command = exec.Command(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--disable-extensions", "--hide-scrollbars", "--user-data-dir="+folder, "about:blank")
	c.command.ExtraFiles = []*os.File{fromTest, toTest}
	if err := c.command.Start(); err != nil {
		return nil, err
	}
	fromTest.Close()
	toTest.Close()
	c.reader.Go(func() { c.read(fromBrowser) })
	return c, nil
}

// stop ends the browser, which goes when its pipe does, or is killed.
func (c *chromium) stop() error {
	c.to.Close()
	gone := make(chan struct{})
	kill := time.AfterFunc(time.Minute, func() { _ = c.command.Process.Kill() })
	go func() { defer close(gone); _ = c.command.Wait() }() // it was told to end: how is of no interest
	<-gone
	kill.Stop()
	c.from.Close()
	c.reader.Wait()
	return os.RemoveAll(c.folder)
}

func (c *chromium) read(from io.Reader) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		for id, answer := range c.waiting {
			delete(c.waiting, id)
			close(answer)
		}
	}()
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID        int
			SessionID string
			reply
			event
		}
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			continue
		}
		c.mu.Lock()
		if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m.reply
		} else if m.Method != "" {
			c.events[m.SessionID] = append(c.events[m.SessionID], m.event)
		}
		c.mu.Unlock()
	}
}

// call asks the browser, or with a session one of its pages, and decodes the answer into result.
func (c *chromium) call(ctx context.Context, session, method string, params, result any) error {
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = answer
	ended := c.ended
	c.mu.Unlock()
	if ended {
		return errors.New("the browser has ended")
	}
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if _, err := c.to.Write(append(text, 0)); err != nil {
		return err
	}
	select {
	case r, ok := <-answer:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case r.Error != nil:
			return errors.New(r.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// browser is one page of the browser, in a context of its own: it shares neither cookies nor storage with the others.
type browser struct {
	t       *testing.T
	session string
	hung    context.Context // ends when the browser must be taken for hung; no test is as slow
}

// maxCalls is how long the browser may work for one test; it is only ever used up by one that hangs.
const maxCalls = 8 * time.Minute

// openBrowser returns a new page. Outside CI it skips the test where there is no Chromium.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts Chromium")
	}
	running.start.Do(func() { running.chromium, running.err = startChromium() })
	if errors.Is(running.err, errNoChromium) && os.Getenv("CI") != "true" {
		t.Skip(running.err)
	}
	testkit.Check(t, running.err)
	hung, cancel := context.WithTimeout(context.Background(), maxCalls)
	b := &browser{t: t, hung: hung}
	var isolated struct{ BrowserContextID string }
	b.call("Target.createBrowserContext", nil, &isolated)
	t.Cleanup(func() {
		b.session = ""
		b.call("Target.disposeBrowserContext", map[string]any{"browserContextId": isolated.BrowserContextID}, nil)
		cancel()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": isolated.BrowserContextID}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-reduced-motion", "value": "reduce"}}}, nil)
	return b
}

func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	if err := running.call(b.hung, b.session, method, params, result); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// eval runs an expression, waits for it if it is a promise, and decodes its value into result.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		b.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if result != nil {
		if err := json.Unmarshal(r.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// until waits until a condition on the page's body holds.
func (b *browser) until(condition string) { b.t.Helper(); b.when(condition, "0", nil) }

// when waits until a condition on the page's body holds, and evaluates an expression before anything can change again.
func (b *browser) when(condition, expression string, result any) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`new Promise((done) => {
		const holds = () => %s;
		const value = () => %s;
		if (holds()) return done(value());
		const seen = new MutationObserver(() => { if (holds()) { seen.disconnect(); done(value()); } });
		seen.observe(document.documentElement, {attributes: true, subtree: true, childList: true, characterData: true});
	})`, condition, expression), result)
}

func (b *browser) size(width, height int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.eval(`new Promise((done) => document.readyState === "complete" ? done() : addEventListener("load", () => done()))`, nil)
}

func (b *browser) screenshot(path string) {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	testkit.Check(b.t, err)
	testkit.Check(b.t, os.WriteFile(path, png, 0o644))
}

// took returns the events of a method so far.
func (b *browser) took(method string) []json.RawMessage {
	running.mu.Lock()
	defer running.mu.Unlock()
	var found []json.RawMessage
	for _, e := range running.events[b.session] {
		if e.Method == method {
			found = append(found, slices.Clone(e.Params))
		}
	}
	return found
}
