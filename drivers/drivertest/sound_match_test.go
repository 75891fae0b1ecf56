package drivertest

import (
	"math"
	"math/rand/v2"
	"testing"
)

func noise(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, seed))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.Float64()*2 - 1)
	}
	return out
}

func TestFindClip(t *testing.T) {
	clip, other := noise(1, 3000), noise(2, 3000)
	mixed := func(a, b []float32, volume float32) []float32 {
		out := make([]float32, len(a))
		for i := range out {
			out[i] = volume * (a[i] + b[i]/10)
		}
		return out
	}
	inverted := mixed(clip, make([]float32, len(clip)), -1)
	quiet := make([]float32, 7001)
	join := func(parts ...[]float32) (out []float32) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for _, rule := range []struct {
		name      string
		recording []float32
		want      []int
	}{
		{"nothing in nothing", nil, nil},
		{"nothing in silence", make([]float32, 20000), nil},
		{"a recording shorter than the clip", clip[:2999], nil},
		{"the clip itself", clip, []int{0}},
		{"at the very end", join(quiet, clip), []int{7001}},
		{"twice, back to back", join(clip, clip), []int{0, 3000}},
		{"many times over several blocks", join(quiet, clip, quiet, clip, quiet, other, clip), []int{7001, 17002, 30003}},
		{"another clip is not it", join(quiet, other, quiet), nil},
		{"quieter and with noise", join(quiet, mixed(clip, other, 0.1), quiet), []int{7001}},
		{"upside down is not it", inverted, nil},
		{"half of it is not it", join(quiet, clip[:1500], quiet), nil},
	} {
		t.Run(rule.name, func(t *testing.T) {
			matches, err := FindClip(rule.recording, clip, 0.9)
			if err != nil {
				t.Fatal(err)
			}
			if len(matches) != len(rule.want) {
				t.Fatalf("found %+v, want %v", matches, rule.want)
			}
			for i, m := range matches {
				if m.At != rule.want[i] {
					t.Errorf("match %d is at %d, want %d", i, m.At, rule.want[i])
				}
			}
		})
	}
	if _, err := FindClip(clip, make([]float32, 10), 0.9); err == nil {
		t.Error("silence was searched for without an error")
	}
}

func TestFindClipTellsTheVolume(t *testing.T) {
	clip := noise(1, 2000)
	half := make([]float32, 5000)
	for i, s := range clip {
		half[700+i] = s / 2
	}
	matches, err := FindClip(half, clip, 0.9)
	if err != nil || len(matches) != 1 || math.Abs(matches[0].Volume-0.5) > 1e-6 || math.Abs(matches[0].Likeness-1) > 1e-6 {
		t.Errorf("got %+v, %v; want one match at half the volume", matches, err)
	}
}

func TestFourierThereAndBack(t *testing.T) {
	x := make([]complex128, 64)
	for i := range x {
		x[i] = complex(float64(i%7), float64(i%5))
	}
	y := append([]complex128(nil), x...)
	fourier(y, false)
	var sum complex128
	for _, v := range x {
		sum += v
	}
	if d := y[0] - sum; math.Hypot(real(d), imag(d)) > 1e-9 {
		t.Errorf("the first coefficient is %v, the sum is %v", y[0], sum)
	}
	fourier(y, true)
	for i := range x {
		if d := y[i]/64 - x[i]; math.Hypot(real(d), imag(d)) > 1e-12 {
			t.Errorf("value %d came back as %v, was %v", i, y[i]/64, x[i])
		}
	}
}
