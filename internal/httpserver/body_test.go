package httpserver

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

type person struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
}

func read(contentTypes []string, body io.Reader) (person, *Problem) {
	r := httptest.NewRequest("POST", "/", body)
	if contentTypes != nil {
		r.Header["Content-Type"] = contentTypes
	}
	got, err := ReadJSON[person](httptest.NewRecorder(), r, 64)
	var p *Problem
	if err != nil && !errors.As(err, &p) {
		panic(err)
	}
	return got, p
}

func TestReadJSON(t *testing.T) {
	whole := `{"name":"kim","age":3}`
	jsonType := []string{"application/json"}
	for _, c := range []struct {
		name         string
		contentTypes []string
		body         io.Reader
		code         string
	}{
		{"whole", jsonType, strings.NewReader(whole), ""},
		{"with the charset", []string{"application/json; charset=UTF-8"}, strings.NewReader(whole), ""},
		{"white space around it", jsonType, strings.NewReader(" " + whole + "\r\n"), ""},
		{"as long as may be", jsonType, strings.NewReader(whole + strings.Repeat(" ", 64-len(whole))), ""},
		{"too long by one", jsonType, strings.NewReader(whole + strings.Repeat(" ", 65-len(whole))), "too-large"},
		{"no content type", nil, strings.NewReader(whole), "unsupported-type"},
		{"two content types", []string{"application/json", "application/json"}, strings.NewReader(whole), "unsupported-type"},
		{"another content type", []string{"text/plain"}, strings.NewReader(whole), "unsupported-type"},
		{"another charset", []string{"application/json; charset=euc-kr"}, strings.NewReader(whole), "unsupported-type"},
		{"another parameter", []string{"application/json; version=2"}, strings.NewReader(whole), "unsupported-type"},
		{"a content type that is none", []string{";"}, strings.NewReader(whole), "unsupported-type"},
		{"nothing", jsonType, strings.NewReader(""), "bad-request"},
		{"torn", jsonType, strings.NewReader(whole[:9]), "bad-request"},
		{"breaks off", jsonType, io.MultiReader(strings.NewReader(whole), iotest.ErrReader(io.ErrUnexpectedEOF)), "bad-request"},
		{"unknown field", jsonType, strings.NewReader(`{"name":"kim","size":3}`), "bad-request"},
		{"another type", jsonType, strings.NewReader(`{"name":"kim","age":"3"}`), "bad-request"},
		{"something behind it", jsonType, strings.NewReader(whole + "{}"), "bad-request"},
		{"a bracket behind it", jsonType, strings.NewReader(whole + "]"), "bad-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, p := read(c.contentTypes, c.body)
			switch {
			case p == nil && (c.code != "" || got != person{"kim", 3}):
				t.Errorf("read %+v", got)
			case p != nil && (p.Code != c.code || got != person{}):
				t.Errorf("read %+v, %v", got, p)
			case p != nil && strings.Contains(p.Text(), "person"):
				t.Errorf("tells a type of the program: %v", p)
			}
		})
	}
}

// A body that is refused for its length is not read to its end, and its connection is closed.
func TestABodyTooLongClosesTheConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := ReadBody(w, r, "text/plain", 10); err != nil {
			var p *Problem
			if errors.As(err, &p) {
				refuse(w, p, ProblemJSON)
			}
		}
	}))
	defer server.Close()
	resp, err := http.Post(server.URL, "text/plain", strings.NewReader(strings.Repeat("x", 1000)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("answered %s, closes %v", resp.Status, resp.Close)
	}
}
