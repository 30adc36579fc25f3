// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

func portGroups() []PortGroup {
	return []PortGroup{
		{
			ID: 1, State: ActiveOptimized, Preferred: true, Status: StatusBySetPortGroups, Vendor: 0x77, Ports: []uint16{1, 2},
			Supported: SupportsActiveOptimized | SupportsStandby | SupportsTransitioning,
		},
		{
			ID: 0x102, State: Transitioning, Status: StatusByImplicitChange, Ports: []uint16{0x304},
			Supported: SupportsActiveNonOptimized | SupportsUnavailable | SupportsLBADependent | SupportsOffline,
		},
		{ID: 3, State: Offline},
	}
}

func TestPortGroups(t *testing.T) {
	groups := `
		80 85 0001 00 01 77 02  # PREF, active/optimized; supported; id; status; vendor; 2 ports
		00000001 00000002
		0f 5a 0102 00 02 00 01  # transitioning
		00000304
		0e 00 0003 00 00 00 00  # offline, no ports`
	for _, tc := range []struct {
		name       string
		wire       string
		extended   bool
		transition time.Duration
	}{
		{"length only header", "00000024" + groups, false, 0},
		{"extended header", "00000028 10 3c 0000 # format 1, 60 s\n" + groups, true, time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wire := fixture(t, tc.wire)
			wantBytes(t, "Append", AppendPortGroups(nil, portGroups(), tc.extended, tc.transition), wire)
			got, transition, err := DecodePortGroups(wire)
			if err != nil || transition != tc.transition || !reflect.DeepEqual(got, portGroups()) {
				t.Errorf("decoded %+v, %v, %v", got, transition, err)
			}
			wantPrefixErrors(t, wire, func(b []byte) error { _, _, err := DecodePortGroups(b); return err })
		})
	}
}

func TestPortGroupsErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		wire string
		want error
	}{
		"claims 4 GiB":   {"ffffffff 00000000", ErrTruncated},
		"group cut":      {"00000004 00 00 0001", ErrMalformed},
		"port list lies": {"00000008 00 00 0001 00 00 00 ff", ErrMalformed},
		"half a port":    {"0000000a 00 00 0001 00 00 00 01 0000", ErrMalformed},
	} {
		if got, _, err := DecodePortGroups(fixture(t, tc.wire)); !errors.Is(err, tc.want) || got != nil {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, tc.want)
		}
	}
	if got, _, err := DecodePortGroups(make([]byte, 4)); err != nil || got != nil {
		t.Errorf("no groups: %+v, %v", got, err)
	}
	many := AppendPortGroups(nil, []PortGroup{{Ports: make([]uint16, 300)}}, true, time.Hour)
	if got, d, err := DecodePortGroups(many); err != nil || len(got[0].Ports) != 255 || d != 255*time.Second {
		t.Errorf("300 ports, an hour: %d, %v, %v, want 255, 255s", len(got[0].Ports), d, err)
	}
}

func TestSetPortGroups(t *testing.T) {
	list := []SetPortGroup{{1, ActiveOptimized}, {0x102, Standby}}
	wire := fixture(t, "00000000 00 00 0001 02 00 0102")
	wantBytes(t, "Append", AppendSetPortGroups(nil, list), wire)
	if got, err := DecodeSetPortGroupList(wire); err != nil || !slices.Equal(got, list) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, list)
	}
	for _, n := range []int{0, 1, 3, 5, 7, 9, 11} { // 4 and 8 are shorter lists
		if _, err := DecodeSetPortGroupList(wire[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes: %v, want ErrTruncated", n, err)
		}
	}
}

func FuzzPortGroups(f *testing.F) {
	f.Add(AppendPortGroups(nil, portGroups(), false, 0))
	f.Add(AppendPortGroups(nil, portGroups(), true, time.Second))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, d, err := DecodePortGroups(b)
		if err == nil {
			again, d2, err := DecodePortGroups(AppendPortGroups(nil, got, true, d))
			if err != nil || d != d2 || !reflect.DeepEqual(got, again) {
				t.Errorf("%+v decodes again as %+v, %v", got, again, err)
			}
		}
		if list, err := DecodeSetPortGroupList(b); err == nil {
			again, err := DecodeSetPortGroupList(AppendSetPortGroups(nil, list))
			if err != nil || !slices.Equal(list, again) {
				t.Errorf("%+v decodes again as %+v, %v", list, again, err)
			}
		}
	})
}

// Linux' target (core_alua: target_emulate_report_target_port_groups) leaves the
// extended header out of the RETURN DATA LENGTH, and sends no more than that.
func TestPortGroupsShortLength(t *testing.T) {
	list := []PortGroup{
		{ID: 0, State: ActiveOptimized, Supported: 0x9f, Status: 1, Ports: []uint16{1}},
		{ID: 1, State: Standby, Supported: 0x9f, Ports: []uint16{2, 3}},
		{ID: 2, State: Standby, Supported: 0x9f},
	}
	for n := 1; n <= len(list); n++ {
		b := AppendPortGroups(nil, list[:n], true, 5*time.Second)
		b[3] -= 4
		want := slices.Clone(list[:n])
		want[n-1].Ports = nil
		got, transition, err := DecodePortGroups(b[:len(b)-4])
		if err != nil || transition != 5*time.Second || !reflect.DeepEqual(got, want) {
			t.Errorf("%d groups: got %+v, %v, %v; want %+v", n, got, transition, err, want)
		}
		if _, _, err := DecodePortGroups(b[:len(b)-5]); err == nil {
			t.Errorf("%d groups: no error for data that is cut", n)
		}
		b[3]--
		if _, _, err := DecodePortGroups(b[:len(b)-5]); err == nil {
			t.Errorf("%d groups: no error for a length that ends inside", n)
		}
	}
}
