// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func wish(disk string, number ...uint16) LUNWish {
	w := LUNWish{Disk: disk}
	if len(number) > 0 {
		w.Number = &number[0]
	}
	return w
}

// TestStoreLUNNumbers goes through the lives of a VM's disks; each step is a start of
// the gateway with these in its configuration.
func TestStoreLUNNumbers(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, step := range []struct {
		name, vm string
		disks    []LUNWish
		want     []uint16
		taken    *LUNTakenError
	}{
		{name: "in the order of the configuration", vm: "vm1", disks: []LUNWish{wish("root"), wish("data")}, want: []uint16{0, 1}},
		{name: "each VM has its own", vm: "vm10", disks: []LUNWish{wish("data"), wish("root")}, want: []uint16{0, 1}},
		{name: "another order changes nothing", vm: "vm1", disks: []LUNWish{wish("data"), wish("root")}, want: []uint16{1, 0}},
		{name: "a removed disk", vm: "vm1", disks: []LUNWish{wish("data")}, want: []uint16{1}},
		{name: "leaves a hole", vm: "vm1", disks: []LUNWish{wish("new"), wish("data")}, want: []uint16{2, 1}},
		{name: "and has its number when it is back", vm: "vm1", disks: []LUNWish{wish("root")}, want: []uint16{0}},
		{name: "a wish", vm: "vm1", disks: []LUNWish{wish("root"), wish("log", 4)}, want: []uint16{0, 4}},
		{name: "is passed over", vm: "vm1", disks: []LUNWish{wish("x"), wish("y"), wish("log", 4)}, want: []uint16{3, 5, 4}},
		{name: "also when it is gone", vm: "vm1", disks: []LUNWish{wish("z")}, want: []uint16{6}},
		{
			name: "a wish for another's", vm: "vm1", disks: []LUNWish{wish("new", 0), wish("root")},
			taken: &LUNTakenError{VM: "vm1", Disk: "new", Holder: "root", Number: 0},
		},
		{name: "which has changed nothing", vm: "vm1", disks: []LUNWish{wish("new"), wish("root")}, want: []uint16{2, 0}},
		{name: "two change places", vm: "vm1", disks: []LUNWish{wish("new", 0), wish("root", 2)}, want: []uint16{0, 2}},
		{name: "and keep them", vm: "vm1", disks: []LUNWish{wish("new"), wish("root")}, want: []uint16{0, 2}},
		{name: "a wish for a removed disk's", vm: "vm1", disks: []LUNWish{wish("heir", 1)}, want: []uint16{1}},
		{name: "which gets a new one", vm: "vm1", disks: []LUNWish{wish("heir"), wish("data")}, want: []uint16{1, 7}},
		{name: "the last number", vm: "vm2", disks: []LUNWish{wish("a", maxLUNNumber), wish("b")}, want: []uint16{maxLUNNumber, 0}},
	} {
		got, err := s.LUNNumbers(step.vm, step.disks)
		if step.taken != nil {
			if e, ok := errors.AsType[*LUNTakenError](err); !ok || *e != *step.taken {
				t.Errorf("%s: got %v, want %v", step.name, err, step.taken)
			}
			continue
		}
		if diff := cmp.Diff(step.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", step.name, err, diff)
		}
		s = reopen(t, s)
	}
}

func TestStoreLUNNumbersEnd(t *testing.T) {
	s := openStore(t, t.TempDir())
	if err := s.update(func(c *change) error { return put(c, bucketLUNNext, "vm1", uint16(maxLUNNumber)) }); err != nil {
		t.Fatal(err)
	}
	if got := must[[]uint16](t)(s.LUNNumbers("vm1", []LUNWish{wish("a")})); got[0] != maxLUNNumber {
		t.Errorf("LUN %d", got[0])
	}
	if got, err := s.LUNNumbers("vm1", []LUNWish{wish("a"), wish("b")}); err == nil {
		t.Errorf("got %v beyond the last number", got)
	}
}

func TestStoreDiskUUID(t *testing.T) {
	s := openStore(t, t.TempDir())
	a, b := must[[16]byte](t)(s.DiskUUID("vm1", "a")), must[[16]byte](t)(s.DiskUUID("vm1", "b"))
	if a == b {
		t.Errorf("two disks have %x", a)
	}
	if a[6]>>4 != 4 || a[8]>>6 != 2 {
		t.Errorf("%x is not of version 4", a)
	}
	s = reopen(t, s)
	if again := must[[16]byte](t)(s.DiskUUID("vm1", "a")); again != a {
		t.Errorf("%x was %x", again, a)
	}
}

func TestStoreReservations(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, want := range []string{"", "first", "second", "", ""} {
		var data []byte
		if want != "" {
			data = []byte(want)
		}
		if err := s.PutReservations("vm1", "a", data); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, s)
		if got := must[[]byte](t)(s.Reservations("vm1", "a")); string(got) != want || (got == nil) != (want == "") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
