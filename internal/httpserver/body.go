package httpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// TypeJSON is the content type of ReadJSON and WriteJSON.
const TypeJSON = "application/json"

// ReadBody reads a request's body, which must be of the content type and of at most limit bytes. Its errors are refusals:
// [UnsupportedType], [TooLarge], or [BadRequest] for a body that breaks off.
func ReadBody(w http.ResponseWriter, r *http.Request, contentType string, limit int64) ([]byte, error) {
	if !isType(r.Header, contentType) {
		return nil, UnsupportedType.With("the content type must be " + contentType)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, TooLarge.Withf("at most %d bytes are taken", limit)
	case err != nil:
		return nil, BadRequest.With("the request broke off")
	}
	return b, nil
}

// isType reports whether a header names one content type, and this one. A charset may be said if it is UTF-8, which is
// what every text of ours is in.
func isType(h http.Header, contentType string) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	if values[0] == contentType {
		return true
	}
	got, params, err := mime.ParseMediaType(values[0])
	if charset, ok := params["charset"]; ok && strings.EqualFold(charset, "utf-8") {
		delete(params, "charset")
	}
	return err == nil && got == contentType && len(params) == 0
}

// errJSON says nothing of what the JSON package found: its words name types of the program.
var errJSON = BadRequest.With("the body must be one JSON value with the documented fields and no others")

// ReadJSON reads a request's body as one JSON value with no field that T lacks and nothing behind it. Its errors are
// refusals, as those of [ReadBody].
func ReadJSON[T any](w http.ResponseWriter, r *http.Request, limit int64) (T, error) {
	var v, none T
	b, err := ReadBody(w, r, TypeJSON, limit)
	if err != nil {
		return none, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return none, errJSON
	}
	if _, err := dec.Token(); err != io.EOF {
		return none, errJSON
	}
	return v, nil
}

// Write sends an answer that no cache may keep. A client that is gone is no fault: it asks again.
func Write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// WriteJSON sends a value of our own types as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) { Write(w, status, TypeJSON, marshal(v)) }
