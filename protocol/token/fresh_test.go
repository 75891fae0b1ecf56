package token_test

import (
	"testing"
	"time"

	"github.com/kipass/kipass/protocol/token"
)

type freshnessCase struct {
	name string
	now  time.Time
	skew time.Duration
	want token.Freshness
}

func freshnessCases() []freshnessCase {
	exp := issuedAt.Add(token.Lifetime)
	const δ = 2 * time.Second
	return []freshnessCase{
		{"at the time of issue, no allowance", issuedAt, 0, token.Fresh},
		{"1 ns before the time of issue, no allowance", issuedAt.Add(-1), 0, token.NotYetValid},
		{"at expiry, no allowance", exp, 0, token.Fresh},
		{"1 ns after expiry, no allowance", exp.Add(1), 0, token.Expired},
		{"at iat − δ", issuedAt.Add(-δ), δ, token.Fresh},
		{"1 ns before iat − δ", issuedAt.Add(-δ - 1), δ, token.NotYetValid},
		{"1 ns after iat − δ", issuedAt.Add(-δ + 1), δ, token.Fresh},
		{"1 ns before exp + δ", exp.Add(δ - 1), δ, token.Fresh},
		{"at exp + δ", exp.Add(δ), δ, token.Fresh},
		{"1 ns after exp + δ", exp.Add(δ + 1), δ, token.Expired},
		{"in the middle of its life", issuedAt.Add(7 * time.Second), δ, token.Fresh},
		{"with the greatest allowance", exp.Add(30 * time.Second), 30 * time.Second, token.Fresh},
		{"with more than that", exp.Add(token.MaxSkew + 1), time.Hour, token.Expired},
		{"early with more than that", issuedAt.Add(-token.MaxSkew - 1), time.Hour, token.NotYetValid},
		{"an hour old", issuedAt.Add(time.Hour), δ, token.Expired},
		{"an hour early", issuedAt.Add(-time.Hour), δ, token.NotYetValid},
		{"at a gate that booted without a clock", time.Unix(0, 0), δ, token.NotYetValid},
	}
}

func TestFresh(t *testing.T) {
	code, _, err := judge(validText(t), newRing())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range freshnessCases() {
		t.Run(c.name, func(t *testing.T) {
			for _, loc := range []*time.Location{time.UTC, time.FixedZone("KST", 9*3600)} {
				if got := code.Fresh(c.now.In(loc), c.skew); got != c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestZeroCodeIsExpired(t *testing.T) {
	if got := (token.Code{}).Fresh(issuedAt, time.Minute); got != token.Expired {
		t.Errorf("%v", got)
	}
	if got := token.Freshness(9).String(); got != "expired" {
		t.Errorf("an impossible freshness reads %q", got)
	}
}
