package uplink

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"
)

// A ClientHello with the post-quantum hybrid group X25519MLKEM768 is longer than a TCP segment usually is, and there are
// boxes on the way that cut a connection off whose ClientHello does not come in one. After a few such ends the gate offers
// X25519 alone, which fits; that protects a recording of the traffic less against a quantum computer to come, so it is
// told, and the hybrid is tried again for as long as the gate runs: nobody on the way can take it away for good, or unseen.
// Visits are sealed to the server with a hybrid of their own either way.

const (
	maxCutOffs   = 3             // handshakes in a row that end without a word, before another kind is tried
	firstClassic = time.Minute   // before the hybrid is tried again; doubles each time it is cut off
	maxClassic   = 6 * time.Hour // the longest that becomes
)

// hello chooses what the next connection offers. All clients of an uplink share it.
type hello struct {
	onKeyExchange func(tls.CurveID) // of each handshake that got through

	mu      sync.Mutex
	cutOffs int           // handshakes in a row
	classic bool          // X25519 alone has got through where the hybrid had not
	wait    time.Duration // from one try of the hybrid to the next, while classic
	again   time.Time     // when that is
}

// choose reports whether the next connection is to offer X25519 alone. While nothing gets through, both kinds take turns.
func (h *hello) choose() (classic bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.classic {
		return time.Now().Before(h.again)
	}
	return h.cutOffs >= maxCutOffs && (h.cutOffs-maxCutOffs)%2 == 0
}

// done takes note of how a handshake ended.
func (h *hello) done(classic bool, state tls.ConnectionState, err error) {
	h.judge(classic, err)
	if err == nil {
		h.onKeyExchange(state.CurveID)
	}
}

func (h *hello) judge(classic bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && !classic:
		h.classic, h.cutOffs = false, 0
	case err == nil:
		if h.cutOffs >= maxCutOffs {
			h.classic, h.wait, h.again = true, firstClassic, now.Add(firstClassic)
		}
		h.cutOffs = 0
	case !cutOff(err):
	case !h.classic:
		h.cutOffs++
	case !classic && !now.Before(h.again): // of several that tried the hybrid at once, one counts
		h.wait = min(2*h.wait, maxClassic)
		h.again = now.Add(h.wait)
	}
}

// postQuantum reports whether a key exchange withstands a quantum computer to come.
func postQuantum(by tls.CurveID) bool {
	return by == tls.X25519MLKEM768 || by == tls.SecP256r1MLKEM768 || by == tls.SecP384r1MLKEM1024
}

// cutOff reports whether a handshake ended without a word of the other side's: by a reset, an end or silence.
func cutOff(err error) bool {
	var n net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &n) && n.Timeout() {
		return true
	}
	var op *net.OpError // of an alert, Op is neither of these
	return errors.As(err, &op) && (op.Op == "read" || op.Op == "write")
}

// twoHellos is a transport with connections of both kinds.
type twoHellos struct {
	hello           *hello
	hybrid, classic *http.Transport
}

func newTwoHellos(h *hello, hybrid *http.Transport) *twoHellos {
	classic := hybrid.Clone()
	classic.TLSClientConfig.CurvePreferences = []tls.CurveID{tls.X25519}
	return &twoHellos{h, hybrid, classic}
}

// RoundTrip implements http.RoundTripper.
func (t *twoHellos) RoundTrip(r *http.Request) (*http.Response, error) {
	classic := t.hello.choose()
	trace := &httptrace.ClientTrace{
		TLSHandshakeDone: func(state tls.ConnectionState, err error) { t.hello.done(classic, state, err) },
	}
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	if classic {
		return t.classic.RoundTrip(r)
	}
	return t.hybrid.RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *twoHellos) CloseIdleConnections() {
	t.hybrid.CloseIdleConnections()
	t.classic.CloseIdleConnections()
}
