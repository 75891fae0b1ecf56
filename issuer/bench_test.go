package issuer

import "testing"

// BenchmarkIssue measures a code from request to text, its durable log entry included, many holders at once.
func BenchmarkIssue(b *testing.B) {
	f := newFixture(b)
	f.rate.perMinute = 0
	bearer := f.register(b, testName)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.Issue(bearer); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
