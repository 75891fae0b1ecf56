package screen

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kipass/kipass/configs"
	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/sounds"
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
