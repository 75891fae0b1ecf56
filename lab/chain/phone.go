package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

// phone is one simulated visitor's phone, registered with one issuer.
type phone struct {
	issuer *issuerService
	name   string
	number string
	token  string
}

// shownCode is one code as a phone shows it.
type shownCode struct {
	text   string
	issued time.Time
}

// issuerService is an issuer's visitor interface.
type issuerService struct {
	name   string
	url    string
	client *http.Client
}

// register gives consent and registers a visitor.
func (s *issuerService) register(ctx context.Context, name, number string) (*phone, error) {
	var answer struct {
		Token string `json:"token"`
	}
	question := map[string]any{"name": name, "phone": number, "consent": true}
	if err := s.post(ctx, "/v1/holders", "", question, &answer); err != nil {
		return nil, err
	}
	return &phone{issuer: s, name: name, number: number, token: answer.Token}, nil
}

// old reports whether the code's time may have passed: on a busy machine a visitor may be slow.
func (c shownCode) old() bool { return time.Since(c.issued) > token.Lifetime }

// fetch asks for a new code.
func (p *phone) fetch(ctx context.Context) (shownCode, error) {
	var answer struct {
		Text     string    `json:"text"`
		IssuedAt time.Time `json:"issued_at"`
	}
	if err := p.issuer.post(ctx, "/v1/codes", p.token, struct{}{}, &answer); err != nil {
		return shownCode{}, err
	}
	return shownCode{text: answer.Text, issued: answer.IssuedAt}, nil
}

func (s *issuerService) post(ctx context.Context, path, bearer string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", s.name, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("issuer %s: %w", s.name, err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("issuer %s: %s %s: %s", s.name, path, resp.Status, bytes.TrimSpace(raw))
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("issuer %s: %s: %w", s.name, path, err)
	}
	return nil
}
