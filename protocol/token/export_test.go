package token

// What tests outside the package build malformed codes and keys with.
var (
	EncodeBase45 = encodeBase45
	DecodeBase45 = decodeBase45
	VerifySign1  = verifySign1
)
