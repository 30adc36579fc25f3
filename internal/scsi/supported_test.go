// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"
	"testing"
)

func TestSupportedCommands(t *testing.T) {
	list := []SupportedCommand{
		{Opcode: OpRead16, CDBBytes: 16},
		{
			Opcode: OpServiceActionIn16, Action: ActionReadCapacity16, HasAction: true, CDBBytes: 16,
			HasTimeouts: true, NominalSeconds: 1, RecommendedSeconds: 30,
		},
	}
	wire := fixture(t, `
		0000001c
		88 00 0000 00 00 0010             # READ(16), 16 bytes
		9e 00 0010 00 03 0010             # service action, CTDP and SERVACTV
		000a 00 00 00000001 0000001e      # timeouts descriptor`)
	wantBytes(t, "Append", AppendSupportedCommands(nil, list), wire)
	if got, err := DecodeSupportedCommands(wire); err != nil || !slices.Equal(got, list) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, list)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeSupportedCommands(b); return err })
	for name, bad := range map[string]string{
		"half a descriptor": "00000004 88000000",
		"timeouts missing":  "00000008 88 00 0000 00 02 0010",
		"timeouts of 8":     "00000014 88 00 0000 00 02 0010 0008 0000 00000000 00000000",
	} {
		if got, err := DecodeSupportedCommands(fixture(t, bad)); !errors.Is(err, ErrMalformed) || got != nil {
			t.Errorf("%s: %+v, %v, want ErrMalformed", name, got, err)
		}
	}
}

func TestCommandSupport(t *testing.T) {
	want := CommandSupport{Support: SupportedStandard, CDBBytes: 6, Usage: [16]byte{0x12, 1, 0xff, 0xff, 0xff, 7}}
	wire := fixture(t, "00 03 0006 12 01 ff ffff 07 # support, CDB length, usage map")
	wantBytes(t, "Append", want.Append(nil), wire)
	same(t, want, wire, DecodeCommandSupport)
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeCommandSupport(b); return err })
	same(t, CommandSupport{Support: NotSupported}, fixture(t, "00 01 0000"), DecodeCommandSupport)
	// Timeouts were announced: they must be there, and are passed over.
	timed := append(fixture(t, "00 83 0006 12 01 ff ffff 07"), fixture(t, "000a 0000 00000001 0000001e")...)
	same(t, want, timed, DecodeCommandSupport)
	wantPrefixErrors(t, timed, func(b []byte) error { _, err := DecodeCommandSupport(b); return err })
	if _, err := DecodeCommandSupport(fixture(t, "00 03 0020"+"00000000000000000000000000000000"+"00000000000000000000000000000000")); !errors.Is(err, ErrMalformed) {
		t.Errorf("CDB of 32 bytes: %v, want ErrMalformed", err)
	}
}

func FuzzSupported(f *testing.F) {
	f.Add(captured(f)["rsoc"])
	f.Add(captured(f)["rsoc-read16"])
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := DecodeSupportedCommands(b); err == nil {
			again, err := DecodeSupportedCommands(AppendSupportedCommands(nil, list))
			if err != nil || !slices.Equal(list, again) {
				t.Errorf("%+v decodes again as %+v, %v", list, again, err)
			}
		}
		if c, err := DecodeCommandSupport(b); err == nil {
			same(t, c, c.Append(nil), DecodeCommandSupport)
		}
	})
}
