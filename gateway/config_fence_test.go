// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pathgate/multipath"
)

// Keys of a LUN rule about fencing and reservations become the path manager's.
func TestFenceConfig(t *testing.T) {
	for text, want := range map[string]multipath.Rule{
		"{id: a}":                     {},
		"{id: a, shared: true}":       {Shared: true},
		"{id: a, fence-reset: never}": {FenceReset: multipath.FenceNever},
		"{id: a, fence-reset: always, fence-abort: true}":                       {FenceReset: multipath.FenceAlways, FenceAbort: true},
		"{id: a, reservation: {mode: none}}":                                    {},
		"{id: a, reservation: {mode: exclusive-all-registrants}}":               {Reservation: multipath.Reservation{AllRegistrants: true}},
		"{id: a, reservation: {mode: exclusive-all-registrants, key: 0xabcde}}": {Reservation: multipath.Reservation{AllRegistrants: true, Key: 0xabcde}},
	} {
		r := mustParse(t, "luns: ["+text+"]").LUNs[0]
		var got multipath.Rule
		r.Fence.rule(&got)
		r.Reservation.rule(&got)
		if !cmp.Equal(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{id: a, fence-reset: sometimes}":                                        "1:29",
		"{id: a, shared: maybe}":                                                 "1:24",
		"{id: a, reservation: {}}":                                               "mode",
		"{id: a, reservation: {mode: all}}":                                      "1:36",
		"{id: a, reservation: {mode: none, key: 0x1}}":                           "1:47",
		"{id: a, reservation: {mode: exclusive-all-registrants, key: 0x100000}}": "1:68",
		"{id: a, reservation: {mode: exclusive-all-registrants, key: 17}}":       "0x1 to 0xfffff",
		"{id: a, reservation: {mode: exclusive-all-registrants, owner: me}}":     "owner",
	} {
		_, err := Parse("t.yaml", []byte("luns: ["+text+"]"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
