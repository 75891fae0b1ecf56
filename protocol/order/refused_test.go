package order

import (
	"fmt"
	"testing"
)

func TestTheLatestRefusedOrdersAreRemembered(t *testing.T) {
	var r Refused
	raw := func(n int) []byte { return fmt.Append(nil, n) }
	for n := range 2 * maxRefused {
		if r.Told(raw(n)) {
			t.Fatalf("order %d is known before it was refused", n)
		}
		r.Note(raw(n))
	}
	for n := range 2 * maxRefused {
		if r.Told(raw(n)) != (n >= maxRefused) {
			t.Fatalf("of %d orders, number %d is remembered: %v", 2*maxRefused, n, r.Told(raw(n)))
		}
	}
	if len(r.all) != maxRefused {
		t.Errorf("%d are remembered", len(r.all))
	}
}
