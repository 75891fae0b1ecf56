package wire

import "fmt"

// Codes of a Problem. SPEC.md gives the status that each comes with and what a gate does. A gate treats a code that it
// does not know as CodeInternal, so a server may add codes.
const (
	CodeRevoked         = "revoked"          // the terminal's certificate has been withdrawn
	CodeUnknown         = "unknown"          // the certificate is this server's own, and its register does not know it: enrol again
	CodeSuperseded      = "superseded"       // the certificate that asks to be renewed is not the terminal's newest
	CodeBadCode         = "bad-code"         // the enrolment code is unknown, used up or too old
	CodeUnauthenticated = "unauthenticated"  // no certificate, one of another authority, or one that has expired
	CodeBadRequest      = "bad-request"      // the request is malformed in the server's eyes
	CodeTooLarge        = "too-large"        // the request is longer than MaxRequest
	CodeUnsupportedType = "unsupported-type" // the content type is not the one of the path
	CodeBusy            = "busy"             // try later; Retry-After says when
	CodeInternal        = "internal"         // the server's own failure
)

// Problem is the server's refusal of a request, with a status of 400 and above.
type Problem struct {
	Code   string `cbor:"1,keyasint"` // stable: one of the codes above
	Detail string `cbor:"2,keyasint"` // for the technician
}

// Error makes a Problem usable as an error.
func (p *Problem) Error() string { return fmt.Sprintf("server refuses (%s): %s", p.Code, p.Detail) }

// EncodeProblem returns the CBOR of a refusal.
func EncodeProblem(p Problem) []byte { return must(encMode.Marshal(p)) } // two texts always encode
