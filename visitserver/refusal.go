package visitserver

import (
	"net/http"
	"time"

	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/wire"
)

// Kinds of refusals of this server, beside those that every server has. Statuses are of protocol/wire/SPEC.md and
// protocol/order/SPEC.md.
var (
	revoked = httpserver.Kind{Code: wire.CodeRevoked, Status: http.StatusForbidden,
		Korean: "등록이 해지된 단말기입니다.", English: "This terminal has been revoked."}
	unknownTerminal = httpserver.Kind{Code: wire.CodeUnknown, Status: http.StatusForbidden,
		Korean: "서버가 모르는 인증서입니다. 단말기를 다시 등록하세요.", English: "The server does not know this certificate: enrol the terminal again."}
	superseded = httpserver.Kind{Code: wire.CodeSuperseded, Status: http.StatusConflict,
		Korean: "더 새로운 인증서가 있는 단말기입니다. 다시 등록하세요.", English: "This terminal has a newer certificate: enrol it again."}
	badCode = httpserver.Kind{Code: wire.CodeBadCode, Status: http.StatusForbidden,
		Korean:  "등록 코드가 틀렸거나 이미 사용되었거나 만료되었습니다. 새 코드를 받으세요.",
		English: "The enrolment code is wrong, used up or expired: ask for a new one."}
	badOrder = httpserver.Kind{Code: order.CodeBadOrder, Status: http.StatusBadRequest,
		Korean: "명령을 읽을 수 없습니다.", English: "The order cannot be read."}
	orderRefused = httpserver.Kind{Code: order.CodeOrderRefused, Status: http.StatusForbidden,
		Korean: "이 명령은 받아들일 수 없습니다.", English: "The order does not hold here."}
	recipientRefused = httpserver.Kind{Code: order.CodeRecipient, Status: http.StatusForbidden,
		Korean:  "답을 받을 키를 보건 당국이 인증하지 않았습니다.",
		English: "The health authority did not certify the key that would get the answer."}
	tooManyVisits = httpserver.Kind{Code: order.CodeTooMany, Status: http.StatusRequestEntityTooLarge,
		Korean: "방문 기록이 너무 많습니다. 기간을 나누어 요청하세요.", English: "Too many visits: ask for shorter windows."}
	commandFailed = httpserver.Kind{Code: "command-failed", Status: http.StatusUnprocessableEntity,
		Korean: "명령을 수행하지 못했습니다.", English: "The command failed."}
)

// lasting is how long a gate is asked to wait at least when what keeps the server from taking its visits hardly ends by
// itself: a wrong clock, or a trust list that is not installed. Others would ask every few seconds for hours.
const lasting = 150 * time.Second

// notYet is the refusal of a request that can be taken once an operator has put something right.
func notYet(detail string) *httpserver.Problem {
	p := httpserver.Busy.With(detail)
	p.RetryAfter = lasting
	return p
}

// problemCBOR is the form of refusals for gates and for the health authority, who read the same two fields.
func problemCBOR(p *httpserver.Problem) (contentType string, body []byte) {
	return wire.TypeProblem, wire.EncodeProblem(wire.Problem{Code: p.Code, Detail: p.Text()})
}
