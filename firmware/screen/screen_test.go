package screen

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/sounds"
)

// fixture is a screen that serves, with a status the test sets. It shows outcomes for as long as a test asks.
type fixture struct {
	*Screen
	t    *testing.T
	log  *testkit.Buffer
	stop func() // ends Run, and waits until it has

	mu     sync.Mutex
	status Status
}

func newFixture(t *testing.T, opts Options) *fixture {
	t.Helper()
	return newFixtureOf(t, opts, userOf)
}

// newFixtureOf is one that tells programs apart by ownerOf.
func newFixtureOf(t *testing.T, opts Options, ownerOf func(net.Conn) string) *fixture {
	t.Helper()
	f := &fixture{t: t}
	if opts.Listener == nil {
		opts.Listener = testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	}
	opts.Status = func() Status { f.mu.Lock(); defer f.mu.Unlock(); return f.status }
	opts.Logger, f.log = testkit.NewLogger()
	f.Screen = testkit.Must(New(opts))(t)
	f.maxHold, f.listener.ownerOf = maxCalls, ownerOf
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := testkit.Soon(t, "the screen's end", done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}

// set changes the status and waits until the screen knows it.
func (f *fixture) set(s Status) {
	f.t.Helper()
	f.mu.Lock()
	f.status = s
	f.mu.Unlock()
	testkit.Eventually(f.t, "the screen asks for the status", func() bool {
		known, fresh := f.current()
		return fresh && reflect.DeepEqual(known, s)
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

func (f *fixture) listen(query string) *listener {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := testkit.Must(http.NewRequestWithContext(ctx, http.MethodGet, f.URL()+"events"+query, nil))(f.t)
	w := testkit.Must((&http.Transport{DisableKeepAlives: true}).RoundTrip(r))(f.t)
	if w.StatusCode != http.StatusOK || w.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("events: %s %s", w.Status, w.Header.Get("Content-Type"))
	}
	l := &listener{t: f.t, events: make(chan [2]string, 1000)}
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
	f.t.Cleanup(l.close)
	return l
}

// next returns the data of the next event of a name.
func (l *listener) next(name string) string {
	l.t.Helper()
	for {
		e := testkit.Soon(l.t, "an event "+name, l.events)
		if e[0] == "" {
			l.t.Fatalf("the stream ended before an event %s", name)
		}
		if e[0] == name {
			return e[1]
		}
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
