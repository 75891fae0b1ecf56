package sounds_test

import (
	"math"
	"testing"

	"github.com/kipass/kipass/sounds"
)

// A loudness meter after ITU-R BS.1770-4 for one channel, with which the clips are measured.

// biquad is a second-order filter: b0 b1 b2 a1 a2 with a0 = 1.
type biquad [5]float64

// kWeighting returns the two filters of BS.1770-4 annex 1 for any sample rate, from their analogue prototypes by the
// bilinear transform. At 48 kHz they are the coefficients of its tables 1 and 2.
func kWeighting(rate float64) (shelf, highPass biquad) {
	k := math.Tan(math.Pi * 1681.974450955533 / rate)
	q, vh := 0.7071752369554196, math.Pow(10, 3.999843853973347/20)
	vb := math.Pow(vh, 0.4996667741545416)
	a0 := 1 + k/q + k*k
	shelf = biquad{(vh + vb*k/q + k*k) / a0, 2 * (k*k - vh) / a0, (vh - vb*k/q + k*k) / a0, 2 * (k*k - 1) / a0, (1 - k/q + k*k) / a0}

	k, q = math.Tan(math.Pi*38.13547087602444/rate), 0.5003270373238773
	a0 = 1 + k/q + k*k
	highPass = biquad{1, -2, 1, 2 * (k*k - 1) / a0, (1 - k/q + k*k) / a0}
	return shelf, highPass
}

func (f biquad) run(in []float64) []float64 {
	out := make([]float64, len(in))
	var z1, z2 float64
	for i, x := range in {
		y := f[0]*x + z1
		z1 = f[1]*x - f[3]*y + z2
		z2 = f[2]*x - f[4]*y
		out[i] = y
	}
	return out
}

// lufs returns the gated loudness: blocks of 400 ms that overlap by three quarters, an absolute gate at -70 LUFS and a
// relative one 10 LU below the mean. A sound shorter than a block is one block of its own length.
func lufs(samples []float64, rate int) float64 {
	shelf, highPass := kWeighting(float64(rate))
	weighted := highPass.run(shelf.run(samples))
	block, step := rate*4/10, rate/10
	if len(weighted) < block {
		return loudness(meanSquare(weighted))
	}
	var powers []float64
	for i := 0; i+block <= len(weighted); i += step {
		powers = append(powers, meanSquare(weighted[i:i+block]))
	}
	above := gate(powers, -70)
	return loudness(mean(gate(above, loudness(mean(above))-10)))
}

func gate(powers []float64, threshold float64) (kept []float64) {
	for _, p := range powers {
		if loudness(p) > threshold {
			kept = append(kept, p)
		}
	}
	return kept
}

func loudness(power float64) float64 { return -0.691 + 10*math.Log10(power) }

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

func meanSquare(samples []float64) float64 {
	var sum float64
	for _, s := range samples {
		sum += s * s
	}
	return sum / float64(len(samples))
}

func sine(hertz, decibels, seconds float64, rate int) []float64 {
	out := make([]float64, int(seconds*float64(rate)))
	for i := range out {
		out[i] = math.Pow(10, decibels/20) * math.Sin(2*math.Pi*hertz*float64(i)/float64(rate))
	}
	return out
}

func TestKWeightingHasTheCoefficientsOfTheStandardAt48Kilohertz(t *testing.T) {
	shelf, highPass := kWeighting(48000)
	want := []biquad{
		{1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, 0.73248077421585}, // BS.1770-4 table 1
		{1, -2, 1, -1.99004745483398, 0.99007225036621},                                              // table 2
	}
	for i, got := range []biquad{shelf, highPass} {
		for j := range got {
			if math.Abs(got[j]-want[i][j]) > 1e-8 {
				t.Errorf("filter %d coefficient %d is %.12f, the standard has %.12f", i, j, got[j], want[i][j])
			}
		}
	}
}

func TestMeterReadsKnownSignals(t *testing.T) {
	for _, rule := range []struct {
		name      string
		signal    []float64
		rate      int
		want, tol float64
	}{
		{"997 Hz at full scale in one channel is -3.01 LUFS", sine(997, 0, 5, 48000), 48000, -3.01, 0.02},
		{"the same at the rate of the clips", sine(997, 0, 5, sounds.Rate), sounds.Rate, -3.01, 0.1},
		{"20 dB less is 20 LU less", sine(997, -20, 5, 48000), 48000, -23.01, 0.02},
		{"a short tone is measured over its own length", sine(997, -13, 0.2, sounds.Rate), sounds.Rate, -16.01, 0.1},
		{"silence around a sound does not count",
			append(append(make([]float64, 96000), sine(997, -13, 10, 48000)...), make([]float64, 480000)...), 48000, -16.01, 0.15},
		{"parts more than 10 LU quieter do not count (EBU Tech 3341, case 3, in one channel)",
			append(append(sine(1000, -36, 10, 48000), sine(1000, -23, 60, 48000)...), sine(1000, -36, 10, 48000)...), 48000, -26.01, 0.1},
	} {
		t.Run(rule.name, func(t *testing.T) {
			if got := lufs(rule.signal, rule.rate); math.Abs(got-rule.want) > rule.tol {
				t.Errorf("measured %.3f LUFS, want %.2f ± %.2f", got, rule.want, rule.tol)
			}
		})
	}
}
