package visit_test

import (
	"strings"
	"testing"

	"github.com/kipass/kipass/protocol/visit"
)

func TestNamesOfPlaces(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "0": true, "-": true, "cafe-1": true, "0123456789abcdefghijklmnopqrstu-": true, strings.Repeat("z", 32): true,
		"": false, strings.Repeat("z", 33): false, "Cafe": false, "cafe_1": false, "cafe 1": false, "cafe/1": false, "카페": false,
		"cafe.": false, "cafe\n": false, "caf\xc3": false, "caf\x00": false, "caf\u212a": false, " cafe": false, "..": false,
	} {
		f, err := visit.ParseFacility(name)
		if (err == nil) != ok || ok && string(f) != name || !ok && f != "" {
			t.Errorf("facility %q: %q, %v", name, f, err)
		}
		g, err := visit.ParseGate(name)
		if (err == nil) != ok || ok && string(g) != name || !ok && g != "" {
			t.Errorf("gate %q: %q, %v", name, g, err)
		}
	}
}
