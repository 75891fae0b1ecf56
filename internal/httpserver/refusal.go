package httpserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Kind is one kind of refusal. It is the only place in which its code meets a status: packages that refuse for reasons
// of their own declare their kinds once, beside each other, as it is done here.
type Kind struct {
	Code       string        // stable, 1 to 32 of a–z, 0–9 and '-'; what a program goes by
	Status     int           // HTTP status, 400 or above
	RetryAfter time.Duration // whole seconds, after which the same request may be sent again; 0: not said
	Korean     string        // what a person is told
	English    string        // the same
}

// Kinds of refusals that every server has.
var (
	BadRequest = Kind{"bad-request", http.StatusBadRequest, 0,
		"요청을 읽을 수 없습니다.", "The request cannot be read."}
	Unauthenticated = Kind{"unauthenticated", http.StatusUnauthorized, 0,
		"인증이 필요합니다.", "Credentials are needed."}
	NotFound = Kind{"not-found", http.StatusNotFound, 0,
		"없는 주소입니다.", "There is nothing at this address."}
	MethodNotAllowed = Kind{"method-not-allowed", http.StatusMethodNotAllowed, 0,
		"이 주소에서 지원하지 않는 요청 방식입니다.", "This address does not take that method."}
	TooLarge = Kind{"too-large", http.StatusRequestEntityTooLarge, 0,
		"요청이 너무 큽니다.", "The request is too large."}
	UnsupportedType = Kind{"unsupported-type", http.StatusUnsupportedMediaType, 0,
		"지원하지 않는 형식입니다.", "This content type is not taken here."}
	Busy = Kind{"busy", http.StatusServiceUnavailable, 5 * time.Second,
		"잠시 후 다시 시도해 주세요.", "Please try again in a moment."}
	Internal = Kind{"internal", http.StatusInternalServerError, 0,
		"일시적인 오류입니다. 다시 시도해 주세요.", "Something went wrong. Please try again."}
)

// Problem is a refusal: an error that a [Handler] returns and the client is told. Any other error is the server's own
// fault, of which the client is told nothing but that.
type Problem struct {
	Kind
	Detail string // what is wrong with this request, for a technician; the kind's words if empty
}

// With returns the refusal of this kind for the reason that detail gives.
func (k Kind) With(detail string) *Problem { return &Problem{Kind: k, Detail: detail} }

// Withf returns the refusal of this kind for the reason that the format gives.
func (k Kind) Withf(format string, args ...any) *Problem { return k.With(fmt.Sprintf(format, args...)) }

func (p *Problem) Error() string { return fmt.Sprintf("refused (%s): %s", p.Code, p.Text()) }

// Text is the detail, or the kind's own words in English.
func (p *Problem) Text() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.English
}

// problemOf returns the refusal that an error is, and whether the error is a fault that has to be logged.
func problemOf(err error) (p *Problem, fault bool) {
	switch {
	case errors.As(err, &p):
		return p, false
	case errors.Is(err, context.Canceled):
		return Busy.With("the request was given up"), false
	}
	return Internal.With("the server has a fault; it is logged"), true
}

// drawn draws from 0 to most, which is small. It is the source of all randomness that tests and simulations can fix.
func drawn(most int) int {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int(binary.BigEndian.Uint32(b[:]) % uint32(most+1))
}

// refuse sends a refusal. Headers that are set already stay.
func refuse(w http.ResponseWriter, p *Problem, form Form) {
	if p.RetryAfter > 0 {
		// Up to twice as long, so that those who were refused together do not come back together.
		least := int(p.RetryAfter / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(least+drawn(least)))
	}
	contentType, body := form(p)
	Write(w, p.Status, contentType, body)
}
