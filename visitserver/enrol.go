package visitserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/visit"
	"github.com/kipass/kipass/protocol/wire"
	"github.com/kipass/kipass/visitserver/store"
)

// EnrolmentLife is how long an enrolment code can be used.
const EnrolmentLife = 24 * time.Hour

const (
	tableEnrolment = "enrolment" // by SHA-256 of the code
	codeLength     = 16          // letters of base32: 80 random bits
	codeGroup      = 4
)

// enrolmentRow is one enrolment code. A code enrols one key: the same key again, as when the answer was lost, gets
// another certificate; any other key is refused.
type enrolmentRow struct {
	Facility visit.Facility `json:"facility"`
	Gate     visit.Gate     `json:"gate"`
	Expires  time.Time      `json:"expires"`
	UsedBy   []byte         `json:"used_by,omitempty"` // SHA-256 of the enrolled public key
}

// newEnrolmentCode returns a code in groups of four, for a technician to type.
func newEnrolmentCode() string {
	text := rand.Text()[:codeLength]
	var groups []string
	for i := 0; i < codeLength; i += codeGroup {
		groups = append(groups, text[i:i+codeGroup])
	}
	return strings.Join(groups, "-")
}

// hashCode makes a code, however typed, its key in the register.
func hashCode(code string) string {
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	h := sha256.Sum256([]byte("kipass enrolment " + code))
	return hex.EncodeToString(h[:])
}

func (s *Server) enrol(w http.ResponseWriter, r *http.Request) error {
	if err := s.room(); err != nil {
		return err
	}
	raw, err := httpserver.ReadBody(w, r, wire.TypeEnrol, wire.MaxRequest)
	if err != nil {
		return err
	}
	req, err := wire.Decode[wire.EnrolRequest](raw)
	if err != nil {
		return httpserver.BadRequest.With(err.Error())
	}
	e, err := s.enrolTerminal(r.Context(), req)
	if err != nil {
		return err
	}
	return answer(w, wire.TypeEnrolment, e)
}

func (s *Server) enrolTerminal(ctx context.Context, req wire.EnrolRequest) (wire.Enrolment, error) {
	csr, err := parseCSR(req.CSR)
	if err != nil {
		return wire.Enrolment{}, httpserver.BadRequest.With(err.Error())
	}
	var code enrolmentRow
	key := hashCode(req.Code)
	rawCode, err := load(ctx, s.store, tableEnrolment, key, &code)
	if err != nil {
		return wire.Enrolment{}, err
	}
	now := s.now()
	used := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if rawCode == nil || now.After(code.Expires) || code.UsedBy != nil && string(code.UsedBy) != string(used[:]) {
		return wire.Enrolment{}, badCode.With("")
	}
	t := caller{name: terminalName{code.Facility, code.Gate}}
	annotate(ctx, t.name)
	t.raw, err = load(ctx, s.store, tableTerminal, t.name.String(), &t.row)
	if err != nil {
		return wire.Enrolment{}, err
	}
	if t.raw == nil || t.row.Revoked != nil || t.row.Code != key {
		return wire.Enrolment{}, badCode.With("")
	}
	cert, err := issue(s.id.Terminal, t.name, csr, s.earliest(), s.life)
	if err != nil {
		return wire.Enrolment{}, err
	}
	code.UsedBy = used[:]
	at := now.UTC()
	t.row.Enrolled, t.row.Certificates = &at, []certificate{certificateOf(cert)}
	var e edit
	e.put(tableEnrolment, key, rawCode, code)
	enrolment, err := s.certify(ctx, t, cert, e)
	if errors.Is(err, store.ErrConflict) {
		return wire.Enrolment{}, badCode.With("") // another device was faster
	}
	return enrolment, err
}
