package visitserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/visit"
)

// AdminRequest is one command of the operator, sent as JSON by POST / over the folder's socket.
type AdminRequest struct {
	Command string   `json:"command"` // as on the command line, for example "terminal add"
	Args    []string `json:"args"`
	File    []byte   `json:"file,omitempty"` // content of the file a command names
}

// adminAnswer is the answer to it.
type adminAnswer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

const mostAdmin = 1 << 20

// command is one of the operator's commands.
type command struct {
	args []string // names of the arguments; the last may be optional: "[…]"
	run  func(ctx context.Context, s *Server, args []string, file []byte) (any, error)
}

// commands by name. Results are JSON objects.
var commands = map[string]command{
	"facility add":    {[]string{"FACILITY", "[NAME]"}, addFacility},
	"terminal add":    {[]string{"FACILITY", "GATE"}, addTerminal},
	"terminal revoke": {[]string{"FACILITY", "GATE"}, revokeTerminal},
	"trust-root":      {[]string{"PUBKEY"}, setTrustRoot},
	"trust-list":      {nil, installTrustList},
	"officer add":     {[]string{"NAME", "PUBKEY"}, addOfficer},
	"officer remove":  {[]string{"NAME"}, removeOfficer},
	"manager-token":   {[]string{"FACILITY"}, addManager},
	"counts":          {[]string{"FACILITY", "DAY"}, showCounts},
	"destroy":         {[]string{"[" + ConfirmClock + "]"}, destroyDue},
	"ledger":          {nil, showLedger},
}

// IsCommand reports whether the operator has a command of that name.
func IsCommand(name string) bool {
	_, ok := commands[name]
	return ok
}

// Admin returns the operator's interface, to be served on a socket that only the operator can reach.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostAdmin))
		if err != nil {
			sendJSON(w, http.StatusBadRequest, adminAnswer{Error: "the request broke off or is too long"})
			return
		}
		out, err := s.Command(r.Context(), b)
		if err != nil {
			sendJSON(w, http.StatusUnprocessableEntity, adminAnswer{Error: err.Error()})
			return
		}
		sendJSON(w, http.StatusOK, adminAnswer{Result: out})
	})
	return s.contained(mux)
}

// Command runs an AdminRequest given as JSON and returns its result as JSON.
func (s *Server) Command(ctx context.Context, raw []byte) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var req AdminRequest
	if err := dec.Decode(&req); err != nil {
		return nil, fmt.Errorf("reading the command: %w", err)
	}
	c, ok := commands[req.Command]
	if !ok {
		return nil, fmt.Errorf("no command is called %q", req.Command)
	}
	need := 0
	for _, a := range c.args {
		if !strings.HasPrefix(a, "[") {
			need++
		}
	}
	if n := len(req.Args); n < need || n > len(c.args) {
		return nil, fmt.Errorf("usage: %s %s", req.Command, strings.Join(c.args, " "))
	}
	out, err := c.run(ctx, s, req.Args, req.File)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// result is v unless there was an error.
func result(v any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func addFacility(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	display := string(f)
	if len(args) > 1 {
		display = args[1]
	}
	return result(map[string]string{"facility": string(f), "display": display}, s.AddFacility(ctx, f, display))
}

func parsePlace(args []string) (visit.Facility, visit.Gate, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return "", "", err
	}
	g, err := visit.ParseGate(args[1])
	return f, g, err
}

func addTerminal(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, g, err := parsePlace(args)
	if err != nil {
		return nil, err
	}
	code, err := s.AddTerminal(ctx, f, g)
	if err != nil {
		return nil, err
	}
	return map[string]string{"facility": string(f), "gate": string(g), "code": code, "valid_for": EnrolmentLife.String()}, nil
}

func revokeTerminal(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, g, err := parsePlace(args)
	if err != nil {
		return nil, err
	}
	return result(map[string]string{"revoked": terminalName{f, g}.String()}, s.RevokeTerminal(ctx, f, g))
}

func setTrustRoot(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	key, err := ParsePublicKey(args[0])
	if err != nil {
		return nil, err
	}
	return result(map[string]bool{"set": true}, s.SetTrustRoot(ctx, key))
}

func installTrustList(ctx context.Context, s *Server, _ []string, file []byte) (any, error) {
	version, err := s.InstallTrustList(ctx, file)
	if err != nil {
		return nil, err
	}
	return map[string]uint64{"version": version}, nil
}

func addOfficer(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	key, err := order.ParsePublicKey(args[1])
	if err != nil {
		return nil, err
	}
	return result(map[string]string{"officer": args[0]}, s.AddOfficer(ctx, order.Officer{Name: args[0], Public: key}))
}

func removeOfficer(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	return result(map[string]string{"removed": args[0]}, s.RemoveOfficer(ctx, args[0]))
}

func addManager(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	text, err := s.AddManagerToken(ctx, f)
	if err != nil {
		return nil, err
	}
	return map[string]string{"facility": string(f), "token": text}, nil
}

func showCounts(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	d, err := day.Parse(args[1])
	if err != nil {
		return nil, err
	}
	return s.DayCounts(ctx, f, d)
}

// ConfirmClock is the argument of the command destroy by which the operator says that the clock is right.
const ConfirmClock = "confirm"

func destroyDue(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	if len(args) > 0 {
		if args[0] != ConfirmClock {
			return nil, fmt.Errorf("destroy: argument %q, only %q is known", args[0], ConfirmClock)
		}
		if err := s.ConfirmClock(); err != nil {
			return nil, err
		}
	}
	done, err := s.DestroyDue(ctx)
	return result(map[string]any{"destroyed": done}, err)
}

func showLedger(ctx context.Context, s *Server, _ []string, _ []byte) (any, error) {
	return s.Ledger(ctx)
}

// Admin sends a command to the server that runs on the folder and returns its result as JSON.
func (f Folder) Admin(ctx context.Context, req AdminRequest) (json.RawMessage, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding the command: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", f.Socket())
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://visits/", bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the server at %s (is it running?): %w", f.Socket(), err)
	}
	defer resp.Body.Close()
	var a adminAnswer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Result, nil
}
