// SPDX-License-Identifier: Apache-2.0

package share

// part is one claimant of a capacity that is filled: between lo and hi, in
// proportion to w.
type part struct {
	w, lo, hi, x int64
	fixed        bool
}

// fill divides capacity: x = clamp(lambda*w, lo, hi) with the lambda that uses
// it up, rounded down (design.md, "Fill"). O(n) for each of a few rounds.
func fill(parts []part, capacity int64) {
	var sumHi, sumLo, weighted, zeroLo int64
	zeroes := false
	for i := range parts {
		p := &parts[i]
		sumHi += p.hi
		sumLo += p.lo
		if p.w > 0 {
			weighted += p.hi
		} else {
			zeroLo += p.lo
			zeroes = true
		}
	}
	switch {
	case sumHi <= capacity:
		for i := range parts {
			parts[i].x = parts[i].hi
		}
	case sumLo >= capacity:
		for i := range parts {
			parts[i].x = mulDiv(parts[i].lo, capacity, max(sumLo, 1))
		}
	case zeroes && weighted+zeroLo <= capacity:
		for i := range parts {
			p := &parts[i]
			p.x, p.fixed = p.hi, p.w > 0
		}
		pour(parts, capacity-weighted, true)
	default:
		for i := range parts {
			p := &parts[i]
			p.x, p.fixed = p.lo, p.w == 0
		}
		pour(parts, capacity-zeroLo, false)
	}
}

// pour fills the parts that are not fixed; their sum of lo is below capacity,
// that of hi above. With equal, each counts as weight 1.
func pour(parts []part, capacity int64, equal bool) {
	weight := func(p *part) int64 {
		if equal {
			return 1
		}
		return p.w
	}
	rest, sum := capacity, int64(0)
	for i := range parts {
		if p := &parts[i]; !p.fixed {
			sum += weight(p)
		}
	}
	for sum > 0 {
		// How much is missing to those below lo, and too much for those above hi,
		// times sum. The larger side is on the right side of the final lambda.
		var missing, excess wide
		for i := range parts {
			p := &parts[i]
			if p.fixed {
				continue
			}
			gets := product(rest, weight(p))
			if lo := product(p.lo, sum); gets.less(lo) {
				missing = missing.plus(lo.minus(gets))
			} else if hi := product(p.hi, sum); hi.less(gets) {
				excess = excess.plus(gets.minus(hi))
			}
		}
		none := wide{}
		if missing == none && excess == none {
			for i := range parts {
				if p := &parts[i]; !p.fixed {
					p.x = mulDiv(rest, weight(p), sum)
				}
			}
			return
		}
		oldRest, oldSum := rest, sum
		low := !missing.less(excess)
		for i := range parts {
			p := &parts[i]
			if p.fixed {
				continue
			}
			gets := product(oldRest, weight(p))
			switch {
			case low && gets.less(product(p.lo, oldSum)):
				p.x, p.fixed = p.lo, true
			case !low && product(p.hi, oldSum).less(gets):
				p.x, p.fixed = p.hi, true
			}
			if p.fixed {
				rest -= p.x
				sum -= weight(p)
			}
		}
	}
}
