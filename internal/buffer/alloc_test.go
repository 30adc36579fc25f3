// SPDX-License-Identifier: Apache-2.0

//go:build !race

package buffer

import "testing"

func TestNoAllocation(t *testing.T) {
	var v, w Vec
	work := func() {
		s := Get(4096)
		v.Append(s.Slice(0, 4096))
		w.AppendRange(v, 100, 1000)
		w.AppendVec(v)
		v.Move(&w)
		v.Release()
	}
	work()
	if n := testing.AllocsPerRun(200, work); n != 0 {
		t.Errorf("%v allocations per payload, want 0", n)
	}
}
