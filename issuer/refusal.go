package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/kipass/kipass/internal/diskspace"
	"github.com/kipass/kipass/internal/httpserver"
	"github.com/kipass/kipass/protocol/order"
	"github.com/kipass/kipass/protocol/person"
)

// Kinds of refusals of an issuer, beside those that every server has. The first ones are a visitor's (SPEC.md), the
// others the health authority's (protocol/order/SPEC.md).
var (
	consentRequired = httpserver.Kind{Code: "consent-required", Status: http.StatusForbidden,
		Korean:  "개인정보 수집 및 제공에 동의해 주세요.",
		English: "Consent to collecting and handing over personal data is required."}
	badName = httpserver.Kind{Code: "bad-name", Status: http.StatusUnprocessableEntity,
		Korean:  "이름을 확인해 주세요. 글자가 있어야 하고 64자까지 쓸 수 있습니다.",
		English: "Please check the name: it needs a letter and has at most 64 characters."}
	badPhone = httpserver.Kind{Code: "bad-phone", Status: http.StatusUnprocessableEntity,
		Korean:  "전화번호를 확인해 주세요. 예: 010-1234-5678, 해외 번호는 +와 국가 번호부터 써 주세요.",
		English: "Please check the phone number: 010-1234-5678, or a number abroad with + and its country code."}
	badIdentity = httpserver.Kind{Code: "bad-identity", Status: http.StatusForbidden,
		Korean:  "전화번호의 주인인지 확인되지 않았습니다.",
		English: "Nothing shows that the phone is yours."}
	unknownAccount = httpserver.Kind{Code: "unknown-account", Status: http.StatusUnauthorized,
		Korean: "다시 등록해 주세요.", English: "Please register again."}
	tooManyCodes = httpserver.Kind{Code: "too-many-codes", Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Second,
		Korean: "잠시 후 다시 시도해 주세요.", English: "Please try again in a moment."}

	notIssuing = httpserver.Kind{Code: "not-issuing", Status: http.StatusServiceUnavailable, RetryAfter: 10 * time.Minute,
		Korean:  "지금은 이 회사의 QR 코드를 만들 수 없습니다. 다른 회사의 QR 코드를 쓰거나 수기명부를 작성해 주세요.",
		English: "This issuer cannot make codes at the moment. Please use another issuer's code or the paper register."}

	badOrder = httpserver.Kind{Code: order.CodeBadOrder, Status: http.StatusBadRequest,
		Korean: "명령을 읽을 수 없습니다.", English: "The order cannot be read."}
	orderRefused = httpserver.Kind{Code: order.CodeOrderRefused, Status: http.StatusForbidden,
		Korean: "이 명령은 받아들일 수 없습니다.", English: "The order does not hold here."}
	recipientRefused = httpserver.Kind{Code: order.CodeRecipient, Status: http.StatusForbidden,
		Korean:  "답을 받을 키를 보건 당국이 인증하지 않았습니다.",
		English: "The health authority did not certify the key that would get the answer."}
)

// refusal returns how a visitor is refused for err, and err itself where it is the issuer's own fault.
func refusal(w http.ResponseWriter, err error) error {
	switch {
	case errors.Is(err, ErrConsent):
		return consentRequired.With("")
	case errors.Is(err, person.ErrName):
		return badName.With(err.Error())
	case errors.Is(err, person.ErrPhone):
		return badPhone.With(err.Error())
	case errors.Is(err, ErrIdentity):
		return badIdentity.With("")
	case errors.Is(err, ErrUnknown):
		w.Header().Set("WWW-Authenticate", "Bearer")
		return unknownAccount.With("")
	case errors.Is(err, ErrTooMany):
		return tooManyCodes.With("")
	case errors.Is(err, ErrKeyEnded):
		return notIssuing.With("")
	case errors.Is(err, diskspace.ErrFull), errors.Is(err, syscall.ENOSPC):
		return httpserver.Busy.With("")
	}
	return err
}

// problemCBOR is the form in which the health authority is refused.
func problemCBOR(p *httpserver.Problem) (contentType string, body []byte) {
	b, err := order.EncodeProblem(order.Problem{Code: p.Code, Detail: p.Text()})
	if err != nil {
		panic(fmt.Sprintf("two texts do not encode: %v", err))
	}
	return order.TypeProblem, b
}
