package clock

import (
	"testing"
	"time"
)

// BenchmarkRead looks at a clock for which kernel, server and two issuers speak.
func BenchmarkRead(b *testing.B) {
	w := newFixture()
	w.kernel = KernelTime{MaxError: 10 * time.Millisecond}
	c := New(w.options())
	c.ServerTime(w.real, 0)
	w.says(c, "naver", 0)
	w.says(c, "pass", 0)
	b.ReportAllocs()
	for b.Loop() {
		c.Read()
	}
}
