package issuer

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/durable"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/internal/testkit"
)

// noSpace is a full disk.
type noSpace struct{}

func (noSpace) Check() error        { return diskspace.ErrFull }
func (noSpace) Run(context.Context) {}

func TestNoCodeOnAFullDisk(t *testing.T) {
	f := newFixture(t)
	bearer := f.register(t, testName)
	f.opts.Space = noSpace{}
	for path, body := range map[string]string{
		PathCodes:   "",
		PathHolders: `{"name":"` + testName + `","phone":"` + testPhone + `","consent":true}`,
	} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", httpserver.TypeJSON)
		r.Header.Set("Authorization", "Bearer "+bearer)
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"busy"`) {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
		}
	}
	if h := f.Health(); h.Issuing || !strings.Contains(h.Warning, "디스크") || f.gauge(t, "kipass_issuer_issuing") != "0" {
		t.Errorf("nobody gets a code, and the health is %+v", h)
	}
	f.reopen(t, durable.Disk{})
	f.code(t, bearer)
	if h := f.Health(); !h.Issuing {
		t.Errorf("codes are issued, and the health is %+v", h)
	}
}

// The issuer starts on its ballast, and says why when that is used up.
func TestStartingOnAFullDisk(t *testing.T) {
	disk := testkit.NewSmallDisk(t, 32<<20)
	dir := filepath.Join(disk.Path, "issuer")
	testkit.Check(t, Init(dir, "", About{Name: "naver", Hosts: []string{"127.0.0.1"}}, noon))
	logger, log := testkit.NewLogger()
	run := func() error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		return Run(ctx, Config{Dir: dir, Listener: l, Registration: RegisterOpen, Logger: logger, Ready: func(string) { cancel() }})
	}
	testkit.Check(t, run())
	disk.Fill()
	testkit.Check(t, run())
	if log.Count("the ballast was given up") != 1 {
		t.Errorf("the log does not tell: %s", log)
	}
	disk.Fill()
	if err := run(); err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), dir) {
		t.Errorf("without any space: %v", err)
	}
	disk.Empty()
	testkit.Check(t, run())
}
