// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"testing"
)

func TestLUNField(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lun   LUN
		field LUNField
	}{
		{"zero", 0, LUNField{}},
		{"peripheral", 1, LUNField{0, 1}},
		{"last peripheral", 255, LUNField{0, 0xff}},
		{"first flat", 256, LUNField{0x41, 0x00}},
		{"last flat", 16383, LUNField{0x7f, 0xff}},
		{"first extended", 16384, LUNField{0xd2, 0x00, 0x40, 0x00}},
		{"last extended", 65535, LUNField{0xd2, 0x00, 0xff, 0xff}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.lun.Field(); got != tc.field {
				t.Errorf("Field() = %x, want %x", got, tc.field)
			}
			if got, err := tc.field.LUN(); err != nil || got != tc.lun {
				t.Errorf("LUN() = %v, %v, want %v", got, err, tc.lun)
			}
		})
	}
}

// Other encodings of the same numbers are understood, since targets choose.
func TestLUNFieldOtherForms(t *testing.T) {
	for _, tc := range []struct {
		field LUNField
		want  LUN
	}{
		{LUNField{0x40, 1}, 1},                       // flat, although peripheral would do
		{LUNField{0xd2, 0, 0, 1}, 1},                 // extended flat
		{LUNField{0xe2, 0, 0, 0, 1, 2}, 258},         // long extended flat
		{LUNField{0xe2, 0, 0, 0, 0xff, 0xff}, 65535}, // its largest here
	} {
		if got, err := tc.field.LUN(); err != nil || got != tc.want {
			t.Errorf("%x: LUN() = %v, %v, want %v", tc.field, got, err, tc.want)
		}
	}
}

func TestB24LUNFieldErrors(t *testing.T) {
	for name, f := range map[string]LUNField{
		"peripheral on bus 1":            {0x01, 0x05},
		"second level":                   {0, 1, 0, 1},
		"flat with second level":         {0x40, 1, 0, 0, 0, 0, 0, 1},
		"logical unit addressing":        {0x80, 1},
		"well known":                     {0xc1, 1},
		"not specified":                  {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"extended flat above 16 bits":    {0xd2, 1, 0, 0},
		"extended flat with second":      {0xd2, 0, 0, 1, 0, 1},
		"long extended above 16 bits":    {0xe2, 0, 0, 1, 0, 0},
		"long extended with second":      {0xe2, 0, 0, 0, 0, 1, 0, 1},
		"extended method of 2 bytes":     {0xc2, 1},
		"extended method of 8 bytes":     {0xf2, 0, 0, 0, 0, 0, 0, 1},
		"reserved extended method 3":     {0xd3, 0, 0, 1},
		"well known with a second level": {0xc1, 1, 0, 1},
	} {
		if got, err := f.LUN(); !errors.Is(err, ErrLUNFormat) {
			t.Errorf("%s: LUN() = %v, %v, want ErrLUNFormat", name, got, err)
		}
	}
}

func TestWellKnown(t *testing.T) {
	f := WellKnownField(WellKnownReportLUNs)
	if want := (LUNField{0xc1, 0x01}); f != want {
		t.Errorf("WellKnownField = %x, want %x", f, want)
	}
	if n, ok := f.WellKnown(); !ok || n != WellKnownReportLUNs {
		t.Errorf("WellKnown() = %d, %v", n, ok)
	}
	if _, ok := LUN(1).Field().WellKnown(); ok {
		t.Error("LUN 1 is no well-known unit")
	}
	if _, ok := (LUNField{0xc1, 1, 0, 1}).WellKnown(); ok {
		t.Error("a second level is no well-known unit")
	}
}

func FuzzLUNField(f *testing.F) {
	f.Add([]byte{0xd2, 0, 0x40, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		field := LUNField(b[:8])
		lun, err := field.LUN()
		if err != nil {
			return
		}
		if again, err := lun.Field().LUN(); err != nil || again != lun {
			t.Errorf("%x is %v, but its own form reads as %v, %v", field, lun, again, err)
		}
	})
}
