package screen

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/kipass/kipass/firmware/health"
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.visitorPage)
	mux.HandleFunc("GET /technician", s.technicianPage)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /healthz", s.healthz)
	for _, file := range []string{"screen.css", "screen.js", "technician.css"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, web, "web/"+file)
		})
	}
	return s.guard(mux)
}

// guard keeps other sites out: a foreign name that resolves to this device (DNS rebinding) fails on the Host, and a
// page of another origin may link here but not fetch.
func (s *Screen) guard(next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, asked, err := net.SplitHostPort(r.Host)
		if err != nil || asked != port || !loopback(host) {
			http.Error(w, "this page is for this device alone", http.StatusMisdirectedRequest)
			return
		}
		site := r.Header.Get("Sec-Fetch-Site")
		if (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			http.Error(w, "not for other sites", http.StatusForbidden)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
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

func (s *Screen) visitorPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, "visitor.html", map[string]any{
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

func (s *Screen) technicianPage(w http.ResponseWriter, r *http.Request) {
	status, fresh := s.current()
	var faults []faultRow
	for _, f := range status.Faults {
		faults = append(faults, faultRow{f, health.KindOf(f.Code), max(0, time.Since(f.Since)).Round(time.Second)})
	}
	s.render(w, "technician.html", map[string]any{
		"Version": s.opts.Version, "Started": s.started.In(day.Seoul()).Format(time.DateTime), "Status": status, "Fresh": fresh,
		"Faults": faults, "Outcomes": visit.Outcomes(), "Totals": s.tally.totals(), "Hours": s.tally.lastHours(), "Pages": s.hub.open(),
	})
}

func (s *Screen) render(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		s.opts.Log.Debug("page not delivered", "page", name, "error", err)
	}
}

// healthz answers 200 while visitors can be served, else 503 with the reason.
func (s *Screen) healthz(w http.ResponseWriter, r *http.Request) {
	status, fresh := s.current()
	switch {
	case !fresh:
		http.Error(w, "the gate does not say how it is doing", http.StatusServiceUnavailable)
	case !status.InService:
		http.Error(w, "out of service", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}
