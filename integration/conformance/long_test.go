// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package conformance

import "testing"

// TestLongConformance runs the suite on the other kinds of disks: a file, blocks of
// 4096 bytes, and LUNs of tgtd over two paths; and on all kinds the test that lasts
// long.
func TestLongConformance(t *testing.T) {
	var runs, last []run
	for _, kind := range kinds() {
		runs = append(runs, run{kind, slowTest})
		for _, name := range list(t) {
			if kind != "memory" && name != slowTest {
				last = append(last, run{kind, name})
			}
		}
	}
	conform(t, append(runs, last...))
}
