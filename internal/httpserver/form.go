package httpserver

import (
	"encoding/json"
	"net/http"
)

// Form renders a refusal for one sort of client.
type Form func(*Problem) (contentType string, body []byte)

// TypeProblemJSON is the content type of ProblemJSON.
const TypeProblemJSON = "application/problem+json"

// ProblemDetails is a refusal as [ProblemJSON] writes it: a problem details object (RFC 9457) of type "about:blank",
// whose title is the status in words, extended by the code and by words for a person.
type ProblemDetails struct {
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail,omitempty"`
	Code    string `json:"code"`
	Korean  string `json:"ko"`
	English string `json:"en"`
}

// ProblemJSON is the form for people's clients.
func ProblemJSON(p *Problem) (contentType string, body []byte) {
	return TypeProblemJSON, marshal(ProblemDetails{
		Title: http.StatusText(p.Status), Status: p.Status, Detail: p.Detail, Code: p.Code, Korean: p.Korean, English: p.English,
	})
}

// marshal is for values of our own types only, which always encode; one that does not is a mistake of the program.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}
