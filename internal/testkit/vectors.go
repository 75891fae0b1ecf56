package testkit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// Unhex returns the bytes of hexadecimal digits and ends the test if there is anything else.
func Unhex(t testing.TB, s string) []byte {
	t.Helper()
	return Must(hex.DecodeString(s))(t)
}

// ReadVectors reads a file of test vectors, JSON without fields that V does not have.
func ReadVectors[V any](t testing.TB, file string) (v V) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(Must(os.ReadFile(file))(t)))
	dec.DisallowUnknownFields()
	Check(t, dec.Decode(&v))
	return v
}

// CheckVectors ends the test if a file of test vectors differs from vectors, which the code has just made. With update it
// writes the file first.
func CheckVectors(t testing.TB, file string, vectors any, update bool) {
	t.Helper()
	var made bytes.Buffer
	enc := json.NewEncoder(&made)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // "<" stays readable
	Check(t, enc.Encode(vectors))
	if update {
		Check(t, os.WriteFile(file, made.Bytes(), 0o644))
	}
	if !bytes.Equal(made.Bytes(), Must(os.ReadFile(file))(t)) {
		t.Fatalf("%s differs from what the code makes; if the format was meant to change, run this test with -update", file)
	}
}
