package issuer

import (
	"fmt"
	"net/http"
	"time"

	"github.com/kipass/kipass/internal/guard"
	"github.com/kipass/kipass/internal/httpserver"
)

// Health is whether codes can be issued, and until when.
type Health struct {
	Issuing bool      `json:"issuing"`
	Warning string    `json:"warning,omitempty"` // what the operator should do
	Key     string    `json:"key,omitempty"`     // identifier of the signing key in use
	KeyEnds time.Time `json:"key_ends"`          // last moment for which codes can be signed by the keys put to use
}

// Health returns the issuer's health.
func (i *Issuer) Health() Health {
	now, held := i.opts.Now(), i.signer.held.Load()
	k, ok := held.in(now)
	full := i.room()
	h := Health{Issuing: ok && full == nil, KeyEnds: held.end().UTC()}
	switch {
	case !ok && now.Before(h.KeyEnds):
		h.Warning = "시계로는 서명 키가 아직 시작되지 않아 코드를 발급하지 않습니다: 시계를 확인해 주세요 / by the clock no signing key has begun, no code is issued: check the clock"
		return h
	case !ok:
		h.Warning = "서명 키가 끝나 코드를 발급하지 않습니다: kipass-issuer keys / the signing key has ended, no code is issued: kipass-issuer keys"
		return h
	case full != nil:
		h.Warning = "디스크가 가득 차 코드를 발급하지 않습니다: 공간을 비워 주세요 / no code is issued, since the disk is full: make space"
	case !now.Before(h.KeyEnds.Add(-keyWarning)):
		days := int(h.KeyEnds.Sub(now) / (24 * time.Hour))
		h.Warning = fmt.Sprintf("서명 키가 %d일 뒤 끝납니다: kipass-issuer keys rotate / the signing key ends in %[1]d days: kipass-issuer keys rotate", days)
	}
	h.Key = k.ID()
	return h
}

// getHealth answers 200 while codes can be issued, else 503.
func (i *Issuer) getHealth(w http.ResponseWriter, _ *http.Request) error {
	h, status := i.Health(), http.StatusOK
	if !h.Issuing {
		status = http.StatusServiceUnavailable
	}
	httpserver.WriteJSON(w, status, h)
	return nil
}

// getMetrics answers in the text format of Prometheus. Nothing in it tells of holders or codes.
func (i *Issuer) getMetrics(w http.ResponseWriter, _ *http.Request) error {
	days, err := i.remaining()
	if err != nil {
		return err
	}
	damaged, err := i.damaged()
	if err != nil {
		return err
	}
	h, issuing := i.Health(), 0
	if h.Issuing {
		issuing = 1
	}
	text := fmt.Sprintf(`# HELP kipass_issuer_issuing 1 while codes can be issued.
# TYPE kipass_issuer_issuing gauge
kipass_issuer_issuing %d
# HELP kipass_issuer_signing_key_end_seconds Last moment for which codes can be signed, in seconds since 1970.
# TYPE kipass_issuer_signing_key_end_seconds gauge
kipass_issuer_signing_key_end_seconds %d
# HELP kipass_issuer_damaged_days Days whose key or issue log is damaged or missing: not all codes of them can be opened.
# TYPE kipass_issuer_damaged_days gauge
kipass_issuer_damaged_days %d
`, issuing, h.KeyEnds.Unix(), len(damaged))
	httpserver.Write(w, http.StatusOK, guard.MetricsType, []byte(text+i.guard.Look().Metrics("issuer", days)))
	return nil
}
