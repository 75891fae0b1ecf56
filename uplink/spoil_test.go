package uplink

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kipass/kipass/internal/testkit/fakevisits"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
)

// exchanged is one batch as the server has it, before the answer.
type exchanged struct {
	server  *fakevisits.Server
	w       http.ResponseWriter
	r       *http.Request
	segment visit.Segment
}

// onBatch lets f answer the n-th batch from now on, and the server all others.
func (f *fixture) onBatch(n int, answer func(exchanged)) {
	var batches atomic.Int32
	f.server.SetFault(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if r.URL.Path != wire.PathVisits || batches.Add(1) != int32(n) {
			return false
		}
		answer(exchanged{f.server, w, r, f.server.Segment(body)})
		return true
	})
}

// keep stores the first n records, or all there are.
func (x exchanged) keep(n int) {
	part := x.segment
	part.Records = part.Records[:min(n, len(part.Records))]
	x.server.Keep(part)
}

// settled is the settlement of the whole batch.
func (x exchanged) settled() visit.Settlement {
	return visit.Settlement{Journal: x.segment.Journal, Through: x.segment.Through()}
}

// receipt returns the bytes of the answer that would have been right.
func (x exchanged) receipt() []byte {
	b, err := wire.Encode(x.server.Receipt(x.settled()))
	if err != nil {
		panic(err) // every receipt can be encoded
	}
	return b
}

func (x exchanged) write(status int, contentType string, body []byte) {
	x.w.Header().Set("Content-Type", contentType)
	x.w.WriteHeader(status)
	x.w.Write(body)
}

// A spoiler lets the answer to one batch go wrong.
type spoiler struct {
	name   string
	answer func(exchanged)
	notice string // in the log
}

// forged answers with a receipt that has been changed.
func forged(change func(*wire.Receipt)) func(exchanged) {
	return func(x exchanged) {
		r := x.server.Receipt(x.settled())
		change(&r)
		x.server.Answer(x.w, wire.TypeReceipt, r)
	}
}

func refused(status int, code, retryAfter string) func(exchanged) {
	return func(x exchanged) {
		x.w.Header().Set("Retry-After", retryAfter)
		x.server.Refuse(x.w, status, code, "as told")
	}
}

func page(status int, body string) func(exchanged) {
	return func(x exchanged) { x.write(status, "text/html", []byte(body)) }
}

const portal = "captive portal or proxy"

var spoilers = []spoiler{
	{"no answer at all", func(x exchanged) { <-x.r.Context().Done() }, "no answer of the visit server in time"},
	{"connection cut before the answer", func(exchanged) { panic(http.ErrAbortHandler) }, "EOF"},
	{"captive portal", page(200, "<html>Log in to Wi-Fi</html>"), portal},
	{"proxy error page", page(502, "<html>Bad gateway</html>"), portal},
	{"success without content", func(x exchanged) { x.w.WriteHeader(204) }, portal},
	{"right body under another status", func(x exchanged) { x.write(202, wire.TypeReceipt, x.receipt()) }, portal},
	{"wrong content type", func(x exchanged) { x.write(200, "application/cbor", x.receipt()) }, portal},
	{"content type with a parameter", func(x exchanged) {
		x.write(200, wire.TypeReceipt+"; charset=utf-8", x.receipt())
	}, portal},
	{"two content types", func(x exchanged) {
		x.w.Header().Add("Content-Type", wire.TypeReceipt)
		x.w.Header().Add("Content-Type", "text/html")
		x.w.Write(x.receipt())
	}, portal},
	{"truncated body", func(x exchanged) {
		b := x.receipt()
		x.w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		x.write(200, wire.TypeReceipt, b[:len(b)/2])
		x.w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, "unexpected EOF"},
	{"truncated body of the right length", func(x exchanged) {
		b := x.receipt()
		x.write(200, wire.TypeReceipt, b[:len(b)/2])
	}, portal},
	{"trailing bytes", func(x exchanged) { x.write(200, wire.TypeReceipt, append(x.receipt(), 0)) }, portal},
	{"oversized body", func(x exchanged) {
		x.write(200, wire.TypeReceipt, append(x.receipt(), make([]byte, wire.MaxResponse)...))
	}, portal},
	{"receipt for another journal", forged(func(r *wire.Receipt) { r.Settled.Journal[3]++ }), "receipt is for journal"},
	{"receipt beyond the batch", forged(func(r *wire.Receipt) { r.Settled.Through++ }), "receipt settles through"},
	{"receipt of a heartbeat", forged(func(r *wire.Receipt) { r.Settled = visit.Settlement{} }), "receipt is for journal"},
	{"refusal outside the batch", forged(func(r *wire.Receipt) {
		r.Settled.Refused = []visit.Refusal{{Seq: r.Settled.Through + 1, Reason: "too-old"}}
	}), "receipt refuses record"},
	{"receipt without a time", forged(func(r *wire.Receipt) { r.ServerTime = 0 }), "server's time"},
	{"receipt that settles nothing", forged(func(r *wire.Receipt) { r.Settled.Through = 0 }), "stored none of"},
	{"429 of the server", refused(429, wire.CodeBusy, "0"), "server refuses (busy)"},
	{"503 of the server, a while", refused(503, wire.CodeBusy, "1"), "server refuses (busy)"},
	{"503 of the server, until a date by a clock of its own", func(x exchanged) {
		x.w.Header().Set("Date", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		x.w.Header().Set("Retry-After", time.Unix(1e9+1, 0).UTC().Format(http.TimeFormat))
		x.server.Refuse(x.w, 503, wire.CodeBusy, "")
	}, "server refuses (busy)"},
	{"503 of a load balancer", page(503, ""), "unavailable (status 503)"},
	{"413 of a load balancer", page(413, ""), "unavailable (status 413)"},
	{"internal error of the server", refused(500, wire.CodeInternal, ""), "server refuses (internal)"},
	{"batch called malformed", refused(400, wire.CodeBadRequest, ""), "server refuses (bad-request)"},
	{"batch called too large", refused(413, wire.CodeTooLarge, ""), "server refuses (too-large)"},
}
