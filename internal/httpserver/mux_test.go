package httpserver

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/testkit"
)

const secret = "01012345678" // stands for whatever a client may send

// do serves one request and returns the answer, what was logged, and what reached net/http as a panic.
func do(t *testing.T, opts MuxOptions, method, target string, h Handler) (w *httptest.ResponseRecorder, log string, panicked any) {
	t.Helper()
	logger, buffer := testkit.NewLogger()
	opts.Logger = logger
	m := NewMux(opts)
	m.Handle("GET /people/{name}", ProblemJSON, h)
	m.Handle("POST /people/{name}", ProblemJSON, h)
	r := httptest.NewRequest(method, target, strings.NewReader(secret))
	r.Header.Set("Authorization", "Bearer "+secret)
	r.RemoteAddr = secret
	w = httptest.NewRecorder()
	func() {
		defer func() { panicked = recover() }()
		m.ServeHTTP(w, r)
	}()
	if strings.Contains(buffer.String(), secret) {
		t.Errorf("content was logged: %s", buffer)
	}
	return w, buffer.String(), panicked
}

func TestRequestLog(t *testing.T) {
	w, log, _ := do(t, MuxOptions{}, "POST", "/people/"+secret+"?phone="+secret, func(w http.ResponseWriter, r *http.Request) error {
		WriteJSON(w, http.StatusCreated, r.PathValue("name"))
		return nil
	})
	if w.Body.String() != `"`+secret+`"`+"\n" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("answered %q with %v", w.Body, w.Header())
	}
	if want := `method=POST route="POST /people/{name}" status=201 bytes=14 duration=`; !strings.Contains(log, want) || strings.Count(log, "\n") != 1 {
		t.Errorf("logged %s", log)
	}
}

func TestRequestsAreLoggedAtTheirLevel(t *testing.T) {
	for level, want := range map[slog.Level]string{slog.LevelInfo: "level=INFO msg=request", slog.LevelDebug: "level=DEBUG msg=request"} {
		_, log, _ := do(t, MuxOptions{Level: level}, "GET", "/people/kim", func(http.ResponseWriter, *http.Request) error { return nil })
		if !strings.Contains(log, want) {
			t.Errorf("logged %s, want %s", log, want)
		}
	}
}

func TestAnAnnouncementIsNoAnswer(t *testing.T) {
	rec := &recorder{ResponseWriter: httptest.NewRecorder()}
	rec.WriteHeader(http.StatusEarlyHints)
	if rec.status != 0 {
		t.Errorf("status %d after an announcement", rec.status)
	}
	rec.WriteHeader(http.StatusCreated)
	rec.WriteHeader(http.StatusOK) // too late, and ignored by net/http
	if rec.status != http.StatusCreated {
		t.Errorf("status %d", rec.status)
	}
}

func TestAnAnswerWithoutAWord(t *testing.T) {
	_, log, _ := do(t, MuxOptions{}, "GET", "/people/kim", func(http.ResponseWriter, *http.Request) error { return nil })
	if !strings.Contains(log, "status=200 bytes=0") {
		t.Errorf("logged %s", log)
	}
}

func TestRequestsWithoutARoute(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
		code, allow    string
		logged         string
	}{
		{"GET", "/" + secret, http.StatusNotFound, "not-found", "", "method=GET route=none status=404"},
		{"DELETE", "/people/kim", http.StatusMethodNotAllowed, "method-not-allowed", "GET, HEAD, POST", "method=DELETE route=none status=405"},
		{"X" + secret, "/people/kim", http.StatusMethodNotAllowed, "method-not-allowed", "GET, HEAD, POST", "method=other route=none status=405"},
	} {
		w, log, _ := do(t, MuxOptions{}, c.method, c.target, nil)
		if w.Code != c.status || codeOf(w) != c.code || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s: answered %d, %q, %v", c.method, w.Code, w.Body, w.Header())
		}
		if !strings.Contains(log, c.logged) || !strings.Contains(log, "problem="+c.code) {
			t.Errorf("%s: logged %s", c.method, log)
		}
	}
}

func TestFaultsAreLoggedOnceAndNotTold(t *testing.T) {
	var none []int
	for name, c := range map[string]struct {
		h      Handler
		logged string
	}{
		"an error":              {func(http.ResponseWriter, *http.Request) error { return errors.New("disk /dev/sda is full") }, `error="disk /dev/sda is full"`},
		"a panic":               {func(http.ResponseWriter, *http.Request) error { panic("no such person: " + secret) }, `error="panic: a value of type string"`},
		"a panic with an error": {func(http.ResponseWriter, *http.Request) error { panic(errors.New(secret)) }, `error="panic: a value of type *errors.errorString"`},
		"a mistake in Go":       {func(http.ResponseWriter, *http.Request) error { _ = none[3]; return nil }, "index out of range [3] with length 0"},
	} {
		t.Run(name, func(t *testing.T) {
			w, log, panicked := do(t, MuxOptions{}, "GET", "/people/kim", c.h)
			if w.Code != http.StatusInternalServerError || codeOf(w) != "internal" || strings.Contains(w.Body.String(), "disk") || panicked != nil {
				t.Errorf("answered %d, %q, panicked %v", w.Code, w.Body, panicked)
			}
			if strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, c.logged) || !strings.Contains(log, "problem=internal") {
				t.Errorf("logged %s", log)
			}
			if strings.Contains(log, "panic") != strings.Contains(log, "mux_test.go") {
				t.Errorf("a stack belongs to a panic and to nothing else: %s", log)
			}
		})
	}
}

// Once an answer has begun it cannot be taken back: the connection is broken off, so that the client sees that it is torn.
func TestAnAnswerThatBreaksOff(t *testing.T) {
	for name, c := range map[string]struct {
		end   func() error
		fault bool
	}{
		"an error":    {func() error { return errors.New("disk fails") }, true},
		"a panic":     {func() error { panic("x") }, true},
		"a refusal":   {func() error { return Busy.With("too late") }, false},
		"it gives up": {func() error { panic(http.ErrAbortHandler) }, false},
		"it says so":  {func() error { return http.ErrAbortHandler }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, log, panicked := do(t, MuxOptions{}, "GET", "/people/kim", func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = io.WriteString(w, "half")
				return c.end()
			})
			if panicked != http.ErrAbortHandler || w.Body.String() != "half" {
				t.Errorf("answered %q, panicked %v", w.Body, panicked)
			}
			if strings.Contains(log, "level=ERROR") != c.fault || !strings.Contains(log, "status=200 bytes=4") {
				t.Errorf("logged %s", log)
			}
		})
	}
}

func TestToFlushBeginsAnAnswer(t *testing.T) {
	w, log, panicked := do(t, MuxOptions{}, "GET", "/people/kim", func(w http.ResponseWriter, _ *http.Request) error {
		testkit.Check(t, http.NewResponseController(w).Flush())
		return Busy.With("too late")
	})
	if panicked != http.ErrAbortHandler || !w.Flushed || !strings.Contains(log, "status=200") {
		t.Errorf("flushed %v, panicked %v, logged %s", w.Flushed, panicked, log)
	}
}

func TestAnAnswerGivenUpBeforeItBegan(t *testing.T) {
	_, log, panicked := do(t, MuxOptions{}, "GET", "/people/kim", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	if panicked != http.ErrAbortHandler || !strings.Contains(log, "status=0") || strings.Contains(log, "ERROR") {
		t.Errorf("panicked %v, logged %s", panicked, log)
	}
}

func TestBefore(t *testing.T) {
	opts := MuxOptions{
		Form: func(p *Problem) (string, []byte) { return "text/plain", []byte(p.Text()) },
		Before: func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			if r.Host != "example.com" {
				return BadRequest.With("another host")
			}
			return nil
		},
	}
	reached := false
	h := func(http.ResponseWriter, *http.Request) error { reached = true; return nil }
	w, _, _ := do(t, opts, "GET", "http://elsewhere.test/people/kim", h)
	if w.Code != http.StatusBadRequest || w.Body.String() != "another host" || w.Header().Get("X-Content-Type-Options") != "nosniff" || reached {
		t.Errorf("another host: %d, %q, %v", w.Code, w.Body, w.Header())
	}
	if w, _, _ = do(t, opts, "GET", "/people/kim", h); w.Code != http.StatusOK || !reached {
		t.Errorf("this host: %d, %q", w.Code, w.Body)
	}
	if w, _, _ = do(t, opts, "GET", "/nowhere", h); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "text/plain" {
		t.Errorf("no route: %d, %q, %v", w.Code, w.Body, w.Header())
	}
}
