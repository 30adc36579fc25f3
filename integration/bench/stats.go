// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
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

// verdict reads the ratios of two rates, one for each sample: a difference counts
// only when it is beyond low and high, which are their range or middle, and from
// minRounds rounds on.
func verdict(ratios []float64, low, high float64) string {
	switch {
	case len(ratios) < minRounds:
		return "not told"
	case low > 1:
		return "faster"
	case high < 1:
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

// middle is a median, and between what it lies.
type middle struct{ median, low, high float64 }

// middleOf gives the median of at least one figure, and the bounds that the median
// of endlessly many would be between with 95 % confidence, whatever they are
// distributed like (the sign test turned around: of n figures a binomial number
// lies below it). With fewer than 6 that is more than their range, which is given.
func middleOf(figures []float64) middle {
	s := slices.Sorted(slices.Values(figures))
	n := len(s)
	k, below, p := 0, 0.0, math.Pow(0.5, float64(n)) // p: that exactly k lie below
	for below+p <= 0.025 {
		below += p
		p *= float64(n-k) / float64(k+1)
		k++
	}
	k = max(k, 1)
	return middle{summarize(figures).median, s[k-1], s[n-k]}
}

func (m middle) String() string { return fmt.Sprintf("%.3f (%.3f-%.3f)", m.median, m.low, m.high) }

// judge compares the median of ratios with the least that is asked for. It is said
// when the figures lie so that another run may find otherwise.
func judge(ratios []float64, bar float64) string {
	if len(ratios) < minRounds {
		return fmt.Sprintf("%.2f: not told", bar)
	}
	m, word, doubt := middleOf(ratios), "met", ""
	if m.median < bar {
		word = "not met"
	}
	if m.low < bar && m.high >= bar {
		doubt = ", within noise"
	}
	return fmt.Sprintf("%.2f: %s%s", bar, word, doubt)
}
