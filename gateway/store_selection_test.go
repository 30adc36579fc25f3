// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/multipath"
)

// someSelection has every field.
func someSelection() *multipath.Selection {
	return &multipath.Selection{
		Name: "isolate-low", Weights: []multipath.PathWeight{{Path: "vmhba0:*", Weight: 3}, {Path: "vmhba1:0:1", Weight: 1}}, UseNonOptimized: true,
		SelectorOptions: multipath.SelectorOptions{
			IOPS: 1, Bytes: 512, Resample: time.Minute, Preferred: "vmhba0:0:1", Settle: time.Second, Below: 3, Paths: 2,
		},
	}
}

// TestStoreSelection: kept, replaced, removed; a device without one; a name that cannot
// be a key.
func TestStoreSelection(t *testing.T) {
	s := openStore(t, t.TempDir())
	want := func(device string, want *multipath.Selection) {
		t.Helper()
		got, ok, err := s.Selection(device)
		if err != nil || ok != (want != nil) || ok && !cmp.Equal(got, *want) {
			t.Errorf("%s: got %+v, %v, %v, want %+v", device, got, ok, err, want)
		}
	}
	want("naa.1", nil)
	put := func(device string, sel *multipath.Selection) {
		t.Helper()
		if err := s.PutSelection(device, sel); err != nil {
			t.Fatal(err)
		}
	}
	put("naa.1", someSelection())
	put("naa.2", &multipath.Selection{Name: "mru"})
	s = reopen(t, s)
	want("naa.1", someSelection())
	want("naa.2", &multipath.Selection{Name: "mru"})
	put("naa.1", &multipath.Selection{Name: "fixed"})
	put("naa.2", nil)
	put("naa.3", nil)
	s = reopen(t, s)
	want("naa.1", &multipath.Selection{Name: "fixed"})
	want("naa.2", nil)
	if err := s.PutSelection("a\x00b", someSelection()); err == nil {
		t.Error("a name with NUL was taken")
	}
}
