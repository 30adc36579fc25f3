// SPDX-License-Identifier: Apache-2.0

package control

import (
	"iter"
	"strings"
)

// maxNameLength bounds the work of nearest; longer names are nobody's typing error.
const maxNameLength = 256

// nearest gives the name that is most like wrong: fewest bytes to insert, delete,
// change or swap with their neighbour, the first one on a tie. "" when more than a
// third would have to change.
func nearest(wrong string, names iter.Seq[string]) string {
	best, found := max(len(wrong)/3, 1)+1, ""
	if len(wrong) > maxNameLength {
		return ""
	}
	for name := range names {
		if strings.EqualFold(name, wrong) {
			return name // nothing can be nearer
		}
		if len(name) > maxNameLength || abs(len(name)-len(wrong)) >= best {
			continue
		}
		if d := distance(wrong, name); d < best {
			best, found = d, name
		}
	}
	return found
}

// distance is the optimal string alignment distance of two names in bytes.
func distance(a, b string) int {
	var rows [3][maxNameLength + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }
