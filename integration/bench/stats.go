// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"slices"
)

// summary is what is said of one series of figures.
type summary struct{ median, low, high float64 }

// summarize takes at least one figure.
func summarize(figures []float64) summary {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	return summary{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// spread is the width of the range as a part of the median.
func (s summary) spread() float64 {
	if s.median == 0 {
		return 0
	}
	return (s.high - s.low) / s.median
}

// ratios divides round by round. Both have one figure for each round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// verdict reads the ratios of two rates, one for each round: a difference counts
// only when every round shows it, and from minRounds rounds on.
func verdict(ratios []float64) string {
	s := summarize(ratios)
	switch {
	case len(ratios) < minRounds:
		return "not told"
	case s.low > 1:
		return "faster"
	case s.high < 1:
		return "slower"
	default:
		return "within noise"
	}
}

// minRounds is how many rounds can show a difference.
const minRounds = 3

func (s summary) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", s.median, s.low, s.high) }

func rates(list []Sample) []float64 { return each(list, Sample.PerSecond) }

func each(list []Sample, f func(Sample) float64) []float64 {
	out := make([]float64, len(list))
	for i, s := range list {
		out[i] = f(s)
	}
	return out
}
