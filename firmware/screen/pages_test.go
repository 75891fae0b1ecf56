package screen

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/testkit"
)

func (f *fixture) get(path string, header http.Header) (*http.Response, string) {
	f.t.Helper()
	r := testkit.Must(http.NewRequestWithContext(f.t.Context(), http.MethodGet, strings.TrimSuffix(f.URL(), "/")+path, nil))(f.t)
	for name, values := range header {
		r.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	w := testkit.Must(http.DefaultTransport.RoundTrip(r))(f.t)
	defer w.Body.Close()
	return w, string(testkit.Must(io.ReadAll(w.Body))(f.t))
}

func TestPagesAreForThisDeviceAlone(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	_, port, _ := net.SplitHostPort(f.listener.Addr().String())
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
			if w, _ := f.get(path, h); w.StatusCode != c.want {
				t.Errorf("%s: GET %s = %d, want %d", c.rule, path, w.StatusCode, c.want)
			}
		}
	}
	w, _ := f.get("/", nil)
	policy := w.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || len(w.Cookies()) > 0 || w.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers = %v", w.Header)
	}
	for _, path := range []string{"/web/visitor.html", "/visitor.html", "/screen.css/", "/nothing"} {
		if w, _ := f.get(path, nil); w.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, w.StatusCode)
		}
	}
}

func TestScreenRefusesTheNetwork(t *testing.T) {
	for address, taken := range map[string]bool{"0.0.0.0:0": false, ":0": false, "[::]:0": false, "127.0.0.1:0": true, "localhost:0": true} {
		l := testkit.Must(net.Listen("tcp", address))(t)
		_, err := New(Options{Listener: l, Language: "ko", Status: func() Status { return Status{} }, Logger: slog.New(slog.DiscardHandler)})
		if (err == nil) != taken {
			t.Errorf("on %s: %v", address, err)
		}
		testkit.Check(t, l.Close())
	}
}

func TestHealthzFollowsTheStatus(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	f.set(Status{InService: true})
	if w, body := f.get("/healthz", nil); w.StatusCode != 200 || body != "ok\n" {
		t.Errorf("in service: %d %q", w.StatusCode, body)
	}
	f.set(Status{})
	if w, body := f.get("/healthz", nil); w.StatusCode != 503 || !strings.Contains(body, "out of service") {
		t.Errorf("out of service: %d %q", w.StatusCode, body)
	}
}

func TestTheTechnicianSeesByWhichKeyExchangeTheServerIsReached(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	for _, by := range []string{"X25519MLKEM768", "X25519"} {
		f.set(Status{InService: true, Reached: true, KeyExchange: by})
		if _, body := f.get("/technician", nil); !strings.Contains(body, "<dd>"+by+"</dd>") {
			t.Errorf("by %s: the page is %s", by, body)
		}
	}
}

func TestTheTechnicianSeesWhatIsKeptAndWhatIsOverdue(t *testing.T) {
	f := newFixture(t, Options{Language: "ko"})
	for _, c := range []struct {
		status Status
		want   string
		over   bool
	}{
		{Status{}, "<dd>–</dd>", false},
		{Status{OldestKept: 90 * time.Minute}, "<dd>1시간 30분 <small>1 h 30 min</small></dd>", false},
		{Status{OldestKept: 31*24*time.Hour + time.Hour, Overdue: 49 * time.Hour}, `<dd class="degraded">⚠ 2일 1시간 <small>2 d 1 h</small></dd>`, true},
	} {
		f.set(c.status)
		if _, body := f.get("/technician", nil); !strings.Contains(body, c.want) || strings.Contains(body, "파기 기한 초과") != c.over {
			t.Errorf("%+v: the page is %s", c.status, body)
		}
	}
}

// TestStatusThatStaysAwayIsNotBelieved has the gate hang: its last word was that all is well.
func TestStatusThatStaysAwayIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		calls := 0
		s := &Screen{hub: newHub(), tally: newTally(), opts: Options{Language: "ko", Status: func() Status {
			if calls++; calls > 1 {
				<-hang
			}
			return Status{InService: true}
		}}}
		if s.statusEvent().InService {
			t.Error("in service before the gate said so")
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.poll(ctx)
		synctest.Wait()
		if !s.statusEvent().InService {
			t.Error("not in service although the gate says so")
		}
		time.Sleep(statusAge - time.Millisecond)
		if !s.statusEvent().InService {
			t.Error("given up too early")
		}
		time.Sleep(time.Millisecond)
		if s.statusEvent().InService {
			t.Error("in service although the gate hangs")
		}
		w := httptest.NewRecorder()
		if err := s.healthz(w, nil); err != nil || w.Code != http.StatusServiceUnavailable {
			t.Errorf("healthz = %d, %v", w.Code, err)
		}
		cancel()
		close(hang)
	})
}
