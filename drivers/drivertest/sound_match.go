package drivertest

import (
	"fmt"
	"math"
	"math/cmplx"
)

// ClipMatch is a place in a recording where a clip was found.
type ClipMatch struct {
	At       int     // index of the clip's first sample in the recording
	Likeness float64 // normalised cross-correlation, 1 for the clip itself at any volume
	Volume   float64 // by what factor the clip is louder or softer there
}

// FindClip returns every place where the recording is like the clip, in order: where their normalised cross-correlation
// reaches threshold (0 to 1) and is highest within half the clip's length. To count cues that may be cut, search for the
// first part of the clip only. Clip and recording have the same sample rate.
func FindClip(recording, clip []float32, threshold float64) ([]ClipMatch, error) {
	energy := 0.0
	for _, c := range clip {
		energy += float64(c) * float64(c)
	}
	if energy == 0 {
		return nil, fmt.Errorf("a clip of %d samples of silence is found everywhere", len(clip))
	}
	if len(recording) < len(clip) {
		return nil, nil
	}
	size := 1
	for size < 4*len(clip) {
		size *= 2
	}
	pattern := make([]complex128, size)
	for i, c := range clip {
		pattern[i] = complex(float64(c), 0)
	}
	fourier(pattern, false)

	var matches []ClipMatch
	sums := runningEnergy(recording)
	step := size - len(clip) + 1
	block := make([]complex128, size)
	for start := 0; start+len(clip) <= len(recording); start += step {
		clear(block)
		for i := range min(size, len(recording)-start) {
			block[i] = complex(float64(recording[start+i]), 0)
		}
		fourier(block, false)
		for i := range block {
			block[i] *= cmplx.Conj(pattern[i])
		}
		fourier(block, true)
		for i := range min(step, len(recording)-len(clip)-start+1) {
			at := start + i
			product := real(block[i]) / float64(size)
			here := sums[at+len(clip)] - sums[at]
			if here < 1e-6*energy {
				continue // silence, or too faint to hear
			}
			if likeness := product / math.Sqrt(here*energy); likeness >= threshold {
				matches = keepBest(matches, ClipMatch{at, likeness, product / energy}, len(clip)/2)
			}
		}
	}
	return matches, nil
}

// keepBest adds a match unless a better one is nearer than apart before it; of two near ones the better stays.
func keepBest(matches []ClipMatch, m ClipMatch, apart int) []ClipMatch {
	if last := len(matches) - 1; last >= 0 && m.At-matches[last].At < apart {
		if m.Likeness > matches[last].Likeness {
			matches[last] = m
		}
		return matches
	}
	return append(matches, m)
}

// runningEnergy returns the sums of squares before each index.
func runningEnergy(samples []float32) []float64 {
	sums := make([]float64, len(samples)+1)
	for i, s := range samples {
		sums[i+1] = sums[i] + float64(s)*float64(s)
	}
	return sums
}

// fourier transforms x in place (Cooley-Tukey, radix 2; len(x) is a power of two). The inverse is not divided by the
// length.
func fourier(x []complex128, inverse bool) {
	for i, j := 1, 0; i < len(x); i++ {
		bit := len(x) / 2
		for ; j&bit != 0; bit /= 2 {
			j ^= bit
		}
		j |= bit
		if i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	turn := -2 * math.Pi
	if inverse {
		turn = -turn
	}
	roots := make([]complex128, len(x)/2)
	for i := range roots {
		roots[i] = cmplx.Rect(1, turn*float64(i)/float64(len(x)))
	}
	for half := 1; half < len(x); half *= 2 {
		stride := len(x) / (2 * half)
		for start := 0; start < len(x); start += 2 * half {
			for k := range half {
				a, b := x[start+k], x[start+k+half]*roots[k*stride]
				x[start+k], x[start+k+half] = a+b, a-b
			}
		}
	}
}

// Samples16 converts 16-bit little-endian PCM of one channel to samples from -1 to 1, as a sound card gets them.
func Samples16(pcm []byte) []float32 {
	samples := make([]float32, len(pcm)/2)
	for i := range samples {
		samples[i] = float32(int16(uint16(pcm[2*i])|uint16(pcm[2*i+1])<<8)) / (1 << 15)
	}
	return samples
}
