package issuer

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/order"
)

// Paths of the issuer's interface besides order.PathOrders. Bodies of the first two are JSON in UTF-8.
const (
	PathHolders    = "/v1/holders"        // POST RegisterRequest → 201 RegisterResponse
	PathCodes      = "/v1/codes"          // POST with "Authorization: Bearer …", no body → 200 CodeResponse
	PathCheckpoint = "/v1/log/checkpoint" // GET: the audit log's signed checkpoint
	PathEntries    = "/v1/log/entries"    // GET: the audit log's entries; ask for it after the checkpoint
	PathHealth     = "/healthz"           // GET: Health
	PathMetrics    = "/metrics"           // GET: the same and how old the oldest day kept is, for Prometheus
)

const maxBody = 4 << 10 // bytes of a JSON request

// RegisterRequest asks for an account.
type RegisterRequest struct {
	Name    string `json:"name"`
	Phone   string `json:"phone"`
	Consent bool   `json:"consent"`         // to collecting and handing over personal data; refused without it
	Proof   string `json:"proof,omitempty"` // what the registrar asks for: the operator's token
}

// RegisterResponse holds the account's bearer secret. It is shown this once.
type RegisterResponse struct {
	Token string `json:"token"`
}

// CodeResponse is a code for 15 seconds.
type CodeResponse struct {
	Text      string    `json:"text"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Handler returns the issuer's HTTP interface. Visitors and auditors are refused in problem details, the health authority
// in an order.Problem. No request is logged with anything from its body or its bearer.
func (i *Issuer) Handler() http.Handler {
	mux := httpserver.NewMux(httpserver.MuxOptions{Logger: i.opts.Logger})
	mux.Handle("POST "+PathHolders, httpserver.ProblemJSON, i.postHolders)
	mux.Handle("POST "+PathCodes, httpserver.ProblemJSON, i.postCodes)
	mux.Handle("POST "+order.PathOrders, problemCBOR, i.postOrders)
	mux.Handle("GET "+PathCheckpoint, httpserver.ProblemJSON, i.getCheckpoint)
	mux.Handle("GET "+PathEntries, httpserver.ProblemJSON, i.getEntries)
	mux.Handle("GET "+PathHealth, httpserver.ProblemJSON, i.getHealth)
	mux.Handle("GET "+PathMetrics, httpserver.ProblemJSON, i.getMetrics)
	return mux
}

func (i *Issuer) postHolders(w http.ResponseWriter, r *http.Request) error {
	q, err := httpserver.ReadJSON[RegisterRequest](w, r, maxBody)
	if err != nil {
		return err
	}
	bearer, err := i.Register(r.Context(), q)
	if err != nil {
		return refusal(w, err)
	}
	httpserver.WriteJSON(w, http.StatusCreated, RegisterResponse{Token: bearer})
	return nil
}

func (i *Issuer) postCodes(w http.ResponseWriter, r *http.Request) error {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return refusal(w, ErrUnknown)
	}
	c, err := i.Issue(bearer)
	if err != nil {
		return refusal(w, err)
	}
	httpserver.WriteJSON(w, http.StatusOK, CodeResponse{Text: c.Text, IssuedAt: c.IssuedAt.UTC(), ExpiresAt: c.ExpiresAt.UTC()})
	return nil
}

func (i *Issuer) postOrders(w http.ResponseWriter, r *http.Request) error {
	question, err := httpserver.ReadBody(w, r, order.TypeQuestion, order.MaxQuestion)
	if err != nil {
		return err
	}
	answer, err := i.Answer(question)
	switch {
	case errors.Is(err, order.ErrRecipient):
		i.strangers.Warn(i.opts.Logger, "an order was refused for its recipient", "address", r.RemoteAddr, "error", err)
		return recipientRefused.With(err.Error())
	case errors.Is(err, order.ErrRefused):
		i.strangers.Warn(i.opts.Logger, "an order was refused", "address", r.RemoteAddr, "error", err)
		return orderRefused.With(err.Error())
	case errors.Is(err, order.ErrMalformed), errors.Is(err, order.ErrMessage):
		i.strangers.Warn(i.opts.Logger, "a question could not be read", "address", r.RemoteAddr, "error", err)
		return badOrder.With(err.Error())
	case err != nil:
		return err
	}
	httpserver.Write(w, http.StatusOK, order.TypeIssuerAnswer, answer)
	return nil
}

func (i *Issuer) getCheckpoint(w http.ResponseWriter, _ *http.Request) error {
	if _, err := i.trusted(); err != nil { // the log tells of the registers as they are
		return err
	}
	httpserver.Write(w, http.StatusOK, "text/plain; charset=utf-8", i.audit.Checkpoint())
	return nil
}

func (i *Issuer) getEntries(w http.ResponseWriter, _ *http.Request) error {
	entries, _, err := i.audit.Snapshot()
	if err != nil {
		return err
	}
	httpserver.Write(w, http.StatusOK, "application/jsonl; charset=utf-8", entries)
	return nil
}
