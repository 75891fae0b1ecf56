package netscan

import (
	"fmt"
	"sync"
	"time"

	"github.com/kipass/kipass/drivers"
	"github.com/kipass/kipass/internal/loglimit"
)

// toldFor is how long the technician is told of somebody who was turned away last.
const toldFor = 10 * time.Minute

// turnedAway keeps who was turned away last, for the technician. The zero value is of nobody.
type turnedAway struct {
	lines loglimit.Limiter // whoever is turned away may try without end

	mu    sync.Mutex
	words string
	last  time.Time
}

// check returns what the technician is to be told, nil for nothing.
func (t *turnedAway) check(now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.words == "" || now.Sub(t.last) >= toldFor {
		return nil
	}
	return fmt.Errorf("%w: %s", drivers.ErrTurnedAway, t.words)
}

// turnAway notes that somebody was turned away, and why, in words for the technician.
func (r *Reader) turnAway(words string) {
	r.away.mu.Lock()
	r.away.words, r.away.last = words, r.now()
	r.away.mu.Unlock()
	if ok, skipped := r.away.lines.Allow(words); ok {
		r.opts.Logger.Warn("turned away from the reader's socket", "reader", r.opts.Name, "count", skipped+1, "detail", words)
	}
}

const (
	webWords = "웹 브라우저나 웹 프로그램이 스캐너 소켓에 접속해서 차단했습니다: 기기에서 열린 웹 페이지를 확인하고, 가능하면 listen = \"unix://…\"를 사용하세요" +
		" / a web browser or program (HTTP, TLS, WebRTC) connected to the reader's socket and was turned away: look at the pages that are open" +
		" on this device, and use listen = \"unix://…\" where you can"
	hostWords = "다른 기기의 접속을 차단했습니다 / another host was turned away"
)
