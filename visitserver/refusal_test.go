package visitserver

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/internal/testkit"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/wire"
)

// specified reads the codes of refusals and their statuses from the tables of a specification.
func specified(t *testing.T, path string) map[string]int {
	t.Helper()
	text := string(testkit.Must(os.ReadFile(path))(t))
	row := regexp.MustCompile(`(?m)^\| ((?:` + "`[a-z-]+`" + `(?:, )?)+)(?:, any other)? \| ([45]\d\d(?:, [45]\d\d)*)\b.* \|$`)
	found := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		codes, statuses := strings.Split(m[1], ", "), strings.Split(m[2], ", ")
		for i, code := range codes {
			status := testkit.Must(strconv.Atoi(statuses[min(i, len(statuses)-1)]))(t)
			found[strings.Trim(code, "`")] = status
		}
	}
	return found
}

// Every code is there once, and the two specifications and the program agree on the status that it comes with.
func TestRefusalsAreAsSpecified(t *testing.T) {
	gates := []httpserver.Kind{revoked, unknownTerminal, superseded, badCode, httpserver.Unauthenticated, httpserver.BadRequest, httpserver.TooLarge,
		httpserver.UnsupportedType, httpserver.Busy, httpserver.Internal}
	orders := []httpserver.Kind{badOrder, orderRefused, recipientRefused, tooManyVisits, httpserver.BadRequest, httpserver.TooLarge,
		httpserver.UnsupportedType, httpserver.Busy, httpserver.Internal}
	for path, kinds := range map[string][]httpserver.Kind{
		"../protocol/wire/SPEC.md": gates, "../protocol/order/SPEC.md": orders,
	} {
		spec := specified(t, path)
		for _, k := range kinds {
			if spec[k.Code] != k.Status {
				t.Errorf("%s: %s has status %d, the program says %d", path, k.Code, spec[k.Code], k.Status)
			}
		}
		if len(spec) != len(kinds) {
			t.Errorf("%s has %d codes, the program %d: %v", path, len(spec), len(kinds), spec)
		}
	}
	seen := map[string]bool{}
	for _, k := range append(gates, badOrder, orderRefused, recipientRefused, tooManyVisits, commandFailed, httpserver.NotFound, httpserver.MethodNotAllowed) {
		if seen[k.Code] || k.Korean == "" || k.English == "" {
			t.Errorf("%q is there twice, or says nothing", k.Code)
		}
		seen[k.Code] = true
	}
}

func TestARefusalReadsAlikeForGatesAndTheAuthority(t *testing.T) {
	contentType, body := problemCBOR(badCode.With(""))
	p := testkit.Must(wire.Decode[wire.Problem](body))(t)
	o := testkit.Must(order.DecodeProblem(body))(t)
	if p.Code != wire.CodeBadCode || p.Detail != badCode.English || o != order.Problem(p) {
		t.Errorf("%+v, %+v", p, o)
	}
	for _, want := range []string{wire.TypeProblem, order.TypeProblem} {
		if contentType != want {
			t.Errorf("content type %s, want %s", contentType, want)
		}
	}
}

// While all places at work are taken a request waits a little and is then sent away, and told when to come back.
func TestABusyServerSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{slots: make(chan struct{}, 1)}
		s.slots <- struct{}{}
		r := httptest.NewRequest(http.MethodPost, order.PathOrders, strings.NewReader("order"))
		r.Header.Set("Content-Type", order.TypeOrder)
		w := httptest.NewRecorder()
		began := time.Now()
		s.Handler().ServeHTTP(w, r)
		p, err := wire.Decode[wire.Problem](w.Body.Bytes())
		after, _ := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != http.StatusServiceUnavailable || err != nil || p.Code != wire.CodeBusy || after < 5 || after > 10 {
			t.Errorf("%d, Retry-After %d, %+v, %v", w.Code, after, p, err)
		}
		if waited := time.Since(began); waited != slotWait || s.waiting.Load() != 0 {
			t.Errorf("waited %v, and %d are said to wait still", waited, s.waiting.Load())
		}
	})
}

// A stranger's path, query, header and body leave no trace in the log.
func TestTheRequestLogHoldsNothingOfTheRequest(t *testing.T) {
	logger, log := testkit.NewLogger()
	d := newDirectFixture(t, newMemoryStore())
	d.log = logger
	const secret = "01012345678"
	for _, path := range []string{"/" + secret, "/v1/facilities/" + secret + "/counts?day=" + secret, order.PathOrders + "?" + secret, wire.PathVisits} {
		for _, contentType := range []string{order.TypeOrder, wire.TypeBatch, secret} {
			d.call(path, contentType, bytes.Repeat([]byte(secret), 100))
		}
	}
	if log.Count(secret) > 0 || log.Count("msg=request ") != 12 {
		t.Errorf("logged %s", log)
	}
}
