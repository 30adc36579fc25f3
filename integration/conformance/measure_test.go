// SPDX-License-Identifier: Apache-2.0

//go:build integration && measure

package conformance

import (
	"os"
	"testing"

	"pathgate/integration/tgtd"
)

// TestMeasureTgtd runs the suite against tgtd, on thin disks, and writes the table
// that the documentation shows beside ours. It passes whatever tgtd does.
func TestMeasureTgtd(t *testing.T) {
	o := tgtd.Options{Threads: 1}
	var runs []run
	target := map[run]int{}
	for i, name := range list(t) {
		r := run{"tgtd", name}
		target[r] = i
		runs = append(runs, r)
		o.Targets = append(o.Targets, tgtd.Target{Name: prefix + targetName(name), LUNs: []tgtd.LUN{{
			SizeBytes: diskBytes, Thin: true, ReadOnly: name == "ALL.ReadOnly.ReadOnlySBC",
		}}})
	}
	s := tgtd.New(t, o)
	got, _ := runAll(t, runs, func(r run) string { return s.URL(target[r], 1) })
	if err := os.WriteFile(table("tgtd"), []byte(verdicts(got).String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
