package issuer

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kipass/kipass/protocol/order"
)

// Paths of the issuer's interface besides order.PathOrders. Bodies of the first two are JSON in UTF-8.
const (
	PathHolders    = "/v1/holders"        // POST RegisterRequest → 201 RegisterResponse
	PathCodes      = "/v1/codes"          // POST with "Authorization: Bearer …", no body → 200 CodeResponse
	PathCheckpoint = "/v1/log/checkpoint" // GET: the audit log's signed checkpoint
	PathEntries    = "/v1/log/entries"    // GET: the audit log's entries; ask for it after the checkpoint
)

const maxBody = 4 << 10 // bytes of a JSON request

// RegisterRequest asks for an account.
type RegisterRequest struct {
	Name    string `json:"name"`
	Phone   string `json:"phone"`
	Consent bool   `json:"consent"`         // to collecting and handing over personal data; refused without it
	Proof   string `json:"proof,omitempty"` // what the registrar asks for: the operator's token
}

// RegisterResponse holds the account's bearer secret. It cannot be had a second time.
type RegisterResponse struct {
	Token string `json:"token"`
}

// CodeResponse is a code for 15 seconds.
type CodeResponse struct {
	Text      string    `json:"text"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// ErrorResponse is any refusal of the two paths for visitors.
type ErrorResponse struct {
	Error   string `json:"error"` // stable: "consent-required", "bad-identity", "unknown-account", "too-many-codes", "bad-request", "internal"
	Korean  string `json:"ko"`
	English string `json:"en"`
}

// Handler returns the issuer's HTTP interface. No request is logged with anything from its body or its bearer.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+PathHolders, i.postHolders)
	mux.HandleFunc("POST "+PathCodes, i.postCodes)
	mux.HandleFunc("POST "+order.PathOrders, i.postOrders)
	mux.HandleFunc("GET "+PathCheckpoint, i.getCheckpoint)
	mux.HandleFunc("GET "+PathEntries, i.getEntries)
	return mux
}

func (i *Issuer) postHolders(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	var q RegisterRequest
	if err := dec.Decode(&q); err != nil {
		writeJSON(w, http.StatusBadRequest, ErrorResponse{"bad-request", "요청을 읽을 수 없습니다.", "The request cannot be read."})
		return
	}
	if _, err := dec.Token(); err != io.EOF {
		writeJSON(w, http.StatusBadRequest, ErrorResponse{"bad-request", "요청을 읽을 수 없습니다.", "The request cannot be read."})
		return
	}
	bearer, err := i.Register(r.Context(), q.Name, q.Phone, q.Consent, q.Proof)
	if err != nil {
		i.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, RegisterResponse{Token: bearer})
}

func (i *Issuer) postCodes(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		i.refuse(w, r, ErrUnknown)
		return
	}
	c, err := i.Issue(bearer)
	if err != nil {
		i.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, CodeResponse{Text: c.Text, IssuedAt: c.IssuedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC()})
}

// refuse answers a visitor. Only an error of the issuer's own is logged; those hold nothing of the request.
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, ErrConsent):
		writeJSON(w, http.StatusForbidden, ErrorResponse{"consent-required", "개인정보 수집 및 제공에 동의해 주세요.", "Consent to collecting and handing over personal data is required."})
	case errors.Is(err, ErrIdentity):
		writeJSON(w, http.StatusForbidden, ErrorResponse{"bad-identity", "이름과 전화번호를 확인해 주세요.", "The name or the phone number could not be accepted."})
	case errors.Is(err, ErrUnknown):
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeJSON(w, http.StatusUnauthorized, ErrorResponse{"unknown-account", "다시 등록해 주세요.", "Please register again."})
	case errors.Is(err, ErrTooMany):
		w.Header().Set("Retry-After", "15")
		writeJSON(w, http.StatusTooManyRequests, ErrorResponse{"too-many-codes", "잠시 후 다시 시도해 주세요.", "Please try again in a moment."})
	default:
		i.opts.Logger.Error("request failed", "path", r.URL.Path, "error", err)
		writeJSON(w, http.StatusInternalServerError, ErrorResponse{"internal", "일시적인 오류입니다. 다시 시도해 주세요.", "Something went wrong. Please try again."})
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the visitor is gone: nothing is left to do
}

func (i *Issuer) postOrders(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != order.TypeQuestion {
		writeProblem(w, http.StatusUnsupportedMediaType, order.Problem{Code: "bad-order", Detail: "the content type must be " + order.TypeQuestion})
		return
	}
	question, err := io.ReadAll(http.MaxBytesReader(w, r.Body, order.MaxQuestion))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		writeProblem(w, http.StatusRequestEntityTooLarge, order.Problem{Code: "too-large", Detail: "the question is too large: ask in several"})
		return
	}
	if err != nil {
		return // the asking side is gone
	}
	answer, err := i.Answer(question)
	switch {
	case errors.Is(err, order.ErrRefused):
		i.opts.Logger.Warn("an order was refused", "remote", r.RemoteAddr, "error", err)
		writeProblem(w, http.StatusForbidden, order.Problem{Code: "order-refused", Detail: err.Error()})
	case errors.Is(err, order.ErrMalformed), errors.Is(err, order.ErrMessage):
		i.opts.Logger.Warn("a question could not be read", "remote", r.RemoteAddr, "error", err)
		writeProblem(w, http.StatusBadRequest, order.Problem{Code: "bad-order", Detail: err.Error()})
	case err != nil:
		i.opts.Logger.Error("an order could not be answered", "error", err)
		writeProblem(w, http.StatusInternalServerError, order.Problem{Code: "internal", Detail: "the issuer cannot answer now; try again"})
	default:
		w.Header().Set("Content-Type", order.TypeIssuerAnswer)
		_, _ = w.Write(answer)
	}
}

func writeProblem(w http.ResponseWriter, status int, p order.Problem) {
	b, err := order.EncodeProblem(p)
	if err != nil {
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", order.TypeProblem)
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func (i *Issuer) getCheckpoint(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(i.audit.Checkpoint())
}

func (i *Issuer) getEntries(w http.ResponseWriter, _ *http.Request) {
	entries, _, err := i.audit.Snapshot()
	if err != nil {
		i.opts.Logger.Error("the audit log cannot be read", "error", err)
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
	_, _ = w.Write(entries)
}
