// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pathgate/backends"
)

func TestVMTable(t *testing.T) {
	var vms vmTable
	now := epoch
	if v := vms.of(nil, now); v != nil {
		t.Errorf("nobody is %+v", v)
	}
	if v := vms.of(&backends.Origin{Connection: "x"}, now); v != nil {
		t.Errorf("no VM is %+v", v)
	}
	a, b := &backends.Origin{VM: "a"}, &backends.Origin{VM: "b"}
	va := vms.of(a, now)
	if vms.of(b, now) == va || vms.of(&backends.Origin{VM: "a", Disk: "2"}, now) != va || len(vms.list) != 2 {
		t.Errorf("not one entry for each VM: %+v", vms.list)
	}
	va.used(3, now)
	vms.of(b, now).used(3, now)
	vms.of(b, now).used(5, now)
	for _, c := range []struct {
		after time.Duration
		three []string
	}{{0, []string{"a", "b"}}, {vmWindow, []string{"a", "b"}}, {2 * vmWindow, nil}} {
		if got := vms.on(3, now.Add(c.after)); !slices.Equal(got, c.three) {
			t.Errorf("after %v: %v", c.after, got)
		}
	}

	now = now.Add(vmForget / 2)
	vms.of(a, now)
	now = now.Add(vmForget / 2)
	version := vms.version
	vms.of(a, now)
	if len(vms.list) != 1 || vms.list[0] != va || vms.version == version {
		t.Errorf("b is not forgotten: %+v", vms.list)
	}
	if vms.of(b, now) == nil || len(vms.list) != 2 {
		t.Error("b did not come again")
	}
}

// A table that is full counts further VMs as nobody's, until others have gone.
func TestVMTableIsBounded(t *testing.T) {
	var vms vmTable
	for i := range maxVMs + 100 {
		v := vms.of(&backends.Origin{VM: fmt.Sprint(i)}, epoch)
		if (v == nil) != (i >= maxVMs) {
			t.Fatalf("%d: %v", i, v)
		}
	}
	if len(vms.list) != maxVMs || len(vms.byName) != maxVMs {
		t.Errorf("%d, %d", len(vms.list), len(vms.byName))
	}
	if v := vms.of(&backends.Origin{VM: "late"}, epoch.Add(vmForget)); v == nil || len(vms.list) != 1 || len(vms.byName) != 1 {
		t.Errorf("nobody was forgotten: %d", len(vms.list))
	}
}
