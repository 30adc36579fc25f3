// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/bits"
	"slices"
	"time"
)

// How a path's latency is kept: by direction and size, so that large requests are
// not taken for slow ones. What was measured counts half as much a second later.
const (
	latencySizes   = 5 // up to 4, 16, 64, 256 KiB, and more
	latencyClasses = 2 * latencySizes

	// latencyMarks is the size of a histogram: two marks per octave from 16 us on,
	// so that the last one is for 12 s and more.
	latencyMarks = 40
	latencyFirst = 14 // log2 of 16 us in ns, rounded down

	// sampleWeight is what one request weighs when it is new; halved by each age,
	// it is forgotten after five.
	sampleWeight = 16
	// enoughWeight is comparable: four new requests, or as many older ones.
	enoughWeight = 4 * sampleWeight
)

// latencies is what the requests of one path took of late. The zero value is empty.
type latencies [latencyClasses]latencyCell

// latencyCell is one class: moving means and a histogram, weighted alike.
type latencyCell struct {
	weight int64
	sum    int64 // ns by weight
	shared int64 // the same, each divided by the requests in flight on the path
	marks  [latencyMarks]int32
}

// latencyClass sorts a request; write tells the direction.
func latencyClass(write bool, bytes uint64) int {
	size := min(max(bits.Len64((max(bytes, 1)-1)>>12)+1, 0)/2, latencySizes-1)
	if write {
		size += latencySizes
	}
	return size
}

// latencyMark gives the place in a histogram.
func latencyMark(d time.Duration) int {
	ns := uint64(max(d, 1))
	log := bits.Len64(ns) - 1
	half := 0
	if log > 0 && ns>>(log-1)&1 == 1 {
		half = 1
	}
	return min(max(2*(log-latencyFirst)+half, 0), latencyMarks-1)
}

// markTime is the upper end of a mark.
func markTime(m int) time.Duration {
	base := time.Duration(1) << (m/2 + latencyFirst)
	if m%2 == 0 {
		return base + base/2
	}
	return 2 * base
}

// add takes a request that took d while depth were in flight, itself among them.
// It must not allocate.
func (l *latencies) add(class int, d time.Duration, depth int) {
	c := &l[class]
	c.weight += sampleWeight
	c.sum += sampleWeight * int64(d)
	c.shared += sampleWeight * int64(d) / int64(max(depth, 1))
	c.marks[latencyMark(d)] += sampleWeight
}

// age has everything count half from now on.
func (l *latencies) age() {
	for i := range l {
		c := &l[i]
		if c.weight == 0 {
			continue
		}
		c.sum, c.shared = c.sum/2, c.shared/2
		c.weight = 0
		for m := range c.marks {
			c.marks[m] /= 2
			c.weight += int64(c.marks[m])
		}
		if c.weight == 0 {
			c.sum, c.shared = 0, 0
		}
	}
}

func (c *latencyCell) mean() time.Duration { return time.Duration(c.sum / c.weight) }

// most gives the time that nine of ten requests did not exceed.
func (c *latencyCell) most() time.Duration {
	over := int64(0)
	for m := latencyMarks - 1; m >= 0; m-- {
		if over += int64(c.marks[m]); over*10 > c.weight {
			return markTime(m)
		}
	}
	return 0
}

// lag is what one path has been slower by.
type lag struct {
	mean, others time.Duration // of the class in which it carried most
}

// slowPaths finds the paths whose requests take much longer than those of their
// siblings, by the rule of m: nil entries are not compared, the result has as many
// entries, nil for a path that is not slow. scale is how much longer a path may take
// by what it is known to carry, in percent; 0: no longer.
//
// In each class with enough requests on at least two paths, a path is slow if its
// mean and its mean per request in flight are over the factor times the median of the
// paths (the lower one, so that of two paths the slower is compared with the faster),
// the mean by the floor, too, and the time that one of ten exceeds over half. So a path
// is not slow for having more to do, nor for one halt. The classes are weighed by
// their requests.
func slowPaths(list []*latencies, scale []int64, m *MarginalRule) []*lag {
	slow := make([]*lag, len(list))
	against := make([]int64, len(list))
	heaviest := make([]int64, len(list))
	for class := range latencyClasses {
		var means, shared, most []time.Duration
		for _, l := range list {
			if l != nil && l[class].weight >= enoughWeight {
				c := &l[class]
				means = append(means, c.mean())
				shared = append(shared, time.Duration(c.shared/c.weight))
				most = append(most, c.most())
			}
		}
		if len(means) < 2 {
			continue
		}
		mean, part, tail := lowerMedian(means), lowerMedian(shared), lowerMedian(most)
		for i, l := range list {
			if l == nil || l[class].weight < enoughWeight {
				continue
			}
			c := &l[class]
			f := time.Duration(m.Factor) * time.Duration(max(scale[i], 100)) / 100
			late := c.mean() > f*mean && c.mean() > mean+m.Floor &&
				time.Duration(c.shared/c.weight) > f*part && 2*c.most() > f*tail
			if !late {
				against[i] -= c.weight
				continue
			}
			against[i] += c.weight
			if c.weight > heaviest[i] {
				heaviest[i] = c.weight
				slow[i] = &lag{c.mean(), mean}
			}
		}
	}
	for i := range slow {
		if against[i] <= 0 {
			slow[i] = nil
		}
	}
	return slow
}

// lowerMedian orders list, which is not empty.
func lowerMedian(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[(len(list)-1)/2]
}
