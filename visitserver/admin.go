package visitserver

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/internal/unixpath"
	"github.com/kipass/kipass/protocol/day"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/publickey"
	"github.com/kipass/kipass/protocol/visit"
)

// AdminRequest is one command of the operator, sent as JSON by POST / over the folder's socket. It is answered with the
// command's result, or with a refusal of type [httpserver.TypeProblemJSON] whose detail says why the command failed.
type AdminRequest struct {
	Command string   `json:"command"` // as on the command line, for example "terminal add"
	Args    []string `json:"args"`
	File    []byte   `json:"file,omitempty"` // content of the file a command names
}

const maxAdmin = 1 << 20 // bytes of an AdminRequest

// command is one of the operator's commands.
type command struct {
	args []string // names of the arguments; the last may be optional: "[…]"
	run  func(ctx context.Context, s *Server, args []string, file []byte) (any, error)
}

// commands by name. Results are JSON objects.
var commands = map[string]command{
	"facility add":      {[]string{"FACILITY", "[NAME]"}, addFacility},
	"terminal add":      {[]string{"FACILITY", "GATE"}, addTerminal},
	"terminal revoke":   {[]string{"FACILITY", "GATE"}, revokeTerminal},
	"trust-root":        {[]string{"PUBKEY"}, setTrustRoot},
	"trust-list":        {nil, installTrustList},
	"officer add":       {[]string{"NAME", "PUBKEY"}, addOfficer},
	"officer remove":    {[]string{"NAME"}, removeOfficer},
	"officer list":      {nil, listOfficers},
	"authority-root":    {[]string{"PUBKEY"}, setAuthorityRoot},
	"manager add":       {[]string{"FACILITY", "NAME"}, addManager},
	"manager revoke":    {[]string{"FACILITY", "NAME"}, revokeManager},
	"manager list":      {[]string{"FACILITY"}, listManagers},
	"counts":            {[]string{"FACILITY", "DAY"}, showCounts},
	"destroy":           {[]string{"[" + ConfirmClock + "]"}, destroyDue},
	"seal-key list":     {nil, listSealKeys},
	"seal-key rotate":   {nil, rotateSealKey},
	"ledger":            {nil, showLedger},
	"alert list":        {nil, listAlerts},
	"alert acknowledge": {[]string{"FACILITY", "GATE"}, acknowledge},
}

// Admin returns the operator's interface, to be served on a socket that only the operator can reach.
func (s *Server) Admin() http.Handler {
	mux := httpserver.NewMux(httpserver.MuxOptions{Logger: s.log})
	mux.Handle("POST /{$}", httpserver.ProblemJSON, httpserver.WriteWithin(longAnswer, s.takeCommand))
	mux.Handle("GET /metrics", httpserver.ProblemJSON, s.metrics)
	return mux
}

func (s *Server) takeCommand(w http.ResponseWriter, r *http.Request) error {
	req, err := httpserver.ReadJSON[AdminRequest](w, r, maxAdmin)
	if err != nil {
		return err
	}
	out, err := s.command(r.Context(), req)
	if err != nil {
		return commandFailed.With(err.Error())
	}
	httpserver.WriteJSON(w, http.StatusOK, out)
	return nil
}

// command runs an AdminRequest and returns its result, to be told as JSON.
func (s *Server) command(ctx context.Context, req AdminRequest) (any, error) {
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
	return c.run(ctx, s, req.Args, req.File)
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

func parseTerminal(args []string) (visit.Facility, visit.Gate, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return "", "", err
	}
	g, err := visit.ParseGate(args[1])
	return f, g, err
}

func addTerminal(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, g, err := parseTerminal(args)
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
	f, g, err := parseTerminal(args)
	if err != nil {
		return nil, err
	}
	return result(map[string]string{"revoked": terminalName{f, g}.String()}, s.RevokeTerminal(ctx, f, g))
}

func setTrustRoot(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	key, err := publickey.Parse(args[0])
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

func listOfficers(ctx context.Context, s *Server, _ []string, _ []byte) (any, error) {
	list, err := s.officerList(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, o := range list {
		all[o.Name] = order.FormatPublicKey(o.Public)
	}
	return map[string]any{"officers": all}, nil
}

func setAuthorityRoot(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	key, err := order.ParseRoot(args[0])
	if err != nil {
		return nil, err
	}
	return result(map[string]string{"authority": order.KeyIDOf(key).String()}, s.SetAuthorityRoot(ctx, key))
}

func addManager(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	text, err := s.AddManager(ctx, f, args[1])
	if err != nil {
		return nil, err
	}
	return map[string]string{"facility": string(f), "manager": args[1], "token": text}, nil
}

func revokeManager(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	return result(map[string]string{"facility": string(f), "revoked": args[1]}, s.RevokeManager(ctx, f, args[1]))
}

func listManagers(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, err := visit.ParseFacility(args[0])
	if err != nil {
		return nil, err
	}
	all, err := s.Managers(ctx, f)
	return result(map[string]any{"facility": string(f), "managers": all}, err)
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
	keys, err := s.destroySealKeys(ctx, true)
	if err != nil {
		return nil, err
	}
	done, err := s.DestroyDue(ctx)
	return result(map[string]any{"destroyed": done, "seal_keys": keys}, err)
}

func listAlerts(ctx context.Context, s *Server, _ []string, _ []byte) (any, error) {
	alerts, err := s.Alerts(ctx)
	return result(map[string][]Alert{"alerts": alerts}, err)
}

func acknowledge(ctx context.Context, s *Server, args []string, _ []byte) (any, error) {
	f, g, err := parseTerminal(args)
	if err != nil {
		return nil, err
	}
	alerts, err := s.Acknowledge(ctx, f, g)
	return result(map[string][]Alert{"acknowledged": alerts}, err)
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
			short, release, err := unixpath.Short(f.Socket())
			if err != nil {
				return nil, err
			}
			var d net.Dialer
			c, err := d.DialContext(ctx, "unix", short)
			return c, errors.Join(err, release())
		},
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://visits/", bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	r.Header.Set("Content-Type", httpserver.TypeJSON)
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the server at %s (is it running?): %w", f.Socket(), err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return bytes.TrimSpace(answer), nil
	}
	var p httpserver.ProblemDetails
	if err := json.Unmarshal(answer, &p); err != nil {
		return nil, fmt.Errorf("reading the server's answer (%s): %w", resp.Status, err)
	}
	return nil, errors.New(cmp.Or(p.Detail, p.English))
}
