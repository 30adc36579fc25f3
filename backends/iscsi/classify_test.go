// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"

	"pathgate/backends"
)

// TestClassify pins the table of HAZARDS section 5, as far as it is a matter of
// status and sense data.
func TestClassify(t *testing.T) {
	fixed := func(code, key, asc, ascq byte) []byte {
		s := make([]byte, 18)
		s[0], s[2], s[7], s[12], s[13] = code, key, 10, asc, ascq
		return s
	}
	tests := []struct {
		name   string
		status uint8
		sense  []byte
		want   backends.Class
	}{
		{"good", 0, nil, backends.OK},
		{"condition met", 4, nil, backends.OK},
		{"busy", 8, nil, backends.Busy},
		{"reservation conflict", 0x18, nil, backends.ReservationConflict},
		{"task set full", 0x28, nil, backends.Busy},
		{"ACA active", 0x30, nil, backends.Transport},
		{"task aborted", 0x40, nil, backends.Busy},
		{"unknown status", 0x7e, nil, backends.Transport},
		{"no sense data", 2, nil, backends.Busy},
		{"unreadable", 2, []byte{0x70}, backends.Busy},
		{"no sense", 2, fixed(0x70, 0, 0, 0), backends.OK},
		{"recovered", 2, fixed(0x70, 1, 0x17, 0), backends.OK},
		{"becoming ready", 2, fixed(0x70, 2, 4, 1), backends.Busy},
		{"ALUA transition", 2, fixed(0x70, 2, 4, 0xa), backends.Busy},
		{"standby", 2, fixed(0x70, 2, 4, 0xb), backends.Transport},
		{"offline", 2, fixed(0x70, 2, 4, 0x12), backends.Transport},
		{"no medium", 2, fixed(0x70, 2, 0x3a, 0), backends.Transport},
		{"medium", 2, fixed(0x70, 3, 0x11, 0), backends.Medium},
		{"hardware", 2, fixed(0x70, 4, 0x44, 0), backends.Medium},
		{"opcode", 2, fixed(0x70, 5, 0x20, 0), backends.Unsupported},
		{"LBA", 2, fixed(0x70, 5, 0x21, 0), backends.IllegalRequest},
		{"no LUN", 2, fixed(0x70, 5, 0x25, 0), backends.Transport},
		{"reset", 2, fixed(0x70, 6, 0x29, 0), backends.Busy},
		{"capacity", 2, fixed(0x70, 6, 0x2a, 9), backends.Busy},
		{"write protected", 2, fixed(0x70, 7, 0x27, 0), backends.DataProtect},
		{"pool full", 2, fixed(0x70, 7, 0x27, 7), backends.NoSpace},
		{"CRC", 2, fixed(0x70, 0xb, 0x47, 5), backends.Busy},
		{"cleared", 2, fixed(0x70, 0xb, 0x47, 0x7f), backends.Busy},
		{"miscompare", 2, fixed(0x70, 0xe, 0x1d, 0), backends.Miscompare},
		{"deferred", 2, fixed(0x71, 3, 0x0c, 0), backends.Busy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := classify(tt.status, tt.sense)
			if got.Class != tt.want || got.Sent != backends.SentAnswered || got.Status != tt.status {
				t.Errorf("got %+v, want %v", got, tt.want)
			}
			if tt.name == "deferred" && !got.Sense.Deferred {
				t.Error("not marked as deferred")
			}
		})
	}
}

// TestUnitAttention: it is told once, and the command completes with Busy.
func TestUnitAttention(t *testing.T) {
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		f.check(c.ITT, 6, 0x29, 0)
		f.disk(make([]byte, 4096))
	})
	r.waitUp()
	if res := r.do(read4k()); res.Class != backends.Busy || res.Sense.String() != "6/29/00" {
		t.Errorf("got %+v", res)
	}
	if ua := wait1(t, r.ua, "unit attention"); ua.String() != "6/29/00" {
		t.Errorf("got %v", ua)
	}
	if res := r.do(read4k()); !res.OK() || len(r.ua) != 0 {
		t.Errorf("got %+v, %d more unit attentions", res, len(r.ua))
	}
}
