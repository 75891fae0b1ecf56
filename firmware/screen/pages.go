package screen

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kipass/kipass/firmware/health"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/visit"
)

//go:embed web
var web embed.FS

var (
	build = digest(web)
	pages = template.Must(template.ParseFS(web, "web/*.html"))
)

// digest tells one build of the pages from another.
func digest(files fs.FS) string {
	h := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		panic(err) // embedded files always read
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (s *Screen) handler() http.Handler {
	mux := httpserver.NewMux(httpserver.MuxOptions{Logger: s.opts.Logger, Level: slog.LevelDebug, Before: s.protect})
	for pattern, h := range map[string]httpserver.Handler{
		"GET /{$}": s.visitorPage, "GET /technician": s.technicianPage, "GET /events": s.events, "GET /metrics": s.metrics,
		"GET /healthz": s.healthz,
	} {
		mux.Handle(pattern, httpserver.ProblemJSON, h)
	}
	for _, file := range []string{"screen.css", "screen.js", "technician.css"} {
		mux.Handle("GET /"+file, httpserver.ProblemJSON, func(w http.ResponseWriter, r *http.Request) error {
			http.ServeFileFS(w, r, web, "web/"+file)
			return nil
		})
	}
	return mux
}

// Why the screen refuses whom it is not for.
var (
	otherDevice = httpserver.Kind{Code: "other-device", Status: http.StatusMisdirectedRequest,
		Korean: "이 기기에서만 볼 수 있습니다.", English: "This page is for this device alone."}
	otherSite = httpserver.Kind{Code: "other-site", Status: http.StatusForbidden,
		Korean: "다른 사이트에서는 사용할 수 없습니다.", English: "This page is not for other sites."}
)

// protect keeps other sites out: a foreign name that resolves to this device (DNS rebinding) fails on the Host, and a
// page of another origin may link here but not fetch.
func (s *Screen) protect(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	host, asked, err := net.SplitHostPort(r.Host)
	if err != nil || asked != port || !loopback(host) {
		return &httpserver.Problem{Kind: otherDevice}
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		return &httpserver.Problem{Kind: otherSite}
	}
	return nil
}

// lines is a text in the first and, if there is one, the second language.
type lines struct{ First, Second string }

func (s *Screen) lines(text func(language string) string) lines {
	l := lines{First: text(s.opts.Language)}
	if s.opts.Second != "" {
		l.Second = text(s.opts.Second)
	}
	return l
}

func (s *Screen) visitorPage(w http.ResponseWriter, _ *http.Request) error {
	return render(w, "visitor.html", map[string]any{
		"Language": s.opts.Language, "SecondLanguage": s.opts.Second, "Build": build,
		"Idle":  s.lines(s.idle),
		"Down":  s.lines(func(l string) string { return s.words(visit.OutOfService, l) }),
		"Paper": s.lines(func(l string) string { return note(notePaper, l) }),
	})
}

type faultRow struct {
	health.Fault
	health.Kind
	Held time.Duration
}

// span tells a length of time in Korean and English; nil for less than a minute.
func span(d time.Duration) *lines {
	days, hours, minutes := d/(24*time.Hour), d/time.Hour%24, d/time.Minute%60
	switch {
	case d < time.Minute:
		return nil
	case d < 24*time.Hour:
		return &lines{fmt.Sprintf("%d시간 %d분", hours, minutes), fmt.Sprintf("%d h %d min", hours, minutes)}
	}
	return &lines{fmt.Sprintf("%d일 %d시간", days, hours), fmt.Sprintf("%d d %d h", days, hours)}
}

func (s *Screen) technicianPage(w http.ResponseWriter, _ *http.Request) error {
	status, fresh := s.current()
	var faults []faultRow
	for _, f := range status.Faults {
		faults = append(faults, faultRow{f, health.KindOf(f.Code), max(0, time.Since(f.Since)).Round(time.Second)})
	}
	return render(w, "technician.html", map[string]any{
		"Version": s.opts.Version, "Started": s.started.In(day.Seoul()).Format(time.DateTime), "Status": status, "Fresh": fresh,
		"OldestKept": span(status.OldestKept), "Overdue": span(status.Overdue),
		"Faults": faults, "Outcomes": visit.Outcomes(), "Totals": s.tally.totals(), "Hours": s.tally.lastHours(), "Pages": s.hub.open(),
	})
}

// render sends a page whole or not at all.
func render(w http.ResponseWriter, name string, data any) error {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		return fmt.Errorf("rendering %s: %w", name, err)
	}
	httpserver.Write(w, http.StatusOK, "text/html; charset=utf-8", page.Bytes())
	return nil
}

const plainText = "text/plain; charset=utf-8"

// healthz answers 200 while visitors can be served, else 503 with the reason.
func (s *Screen) healthz(w http.ResponseWriter, _ *http.Request) error {
	status, fresh := s.current()
	switch {
	case !fresh:
		httpserver.Write(w, http.StatusServiceUnavailable, plainText, []byte("the gate does not say how it is doing\n"))
	case !status.InService:
		httpserver.Write(w, http.StatusServiceUnavailable, plainText, []byte("out of service\n"))
	default:
		httpserver.Write(w, http.StatusOK, plainText, []byte("ok\n"))
	}
	return nil
}
