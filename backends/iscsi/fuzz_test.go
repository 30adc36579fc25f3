// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// FuzzConnection has the target send arbitrary bytes in full feature phase while
// a read and a write are in flight: everything ends, once, and a read that
// succeeds has all its bytes.
func FuzzConnection(f *testing.F) {
	var h wire.BHS
	add := func(p encoder1, data []byte) {
		p.Encode(&h)
		f.Add(wire.LoginFraming().AppendPacket(nil, &h, nil, data))
	}
	add(&wire.SCSIResponse{ITT: 0}, nil)
	add(&wire.SCSIResponse{ITT: 1, Status: 2}, []byte{0, 2, 0x70, 0})
	add(&wire.DataIn{Final: true, HasStatus: true, ITT: 0, TTT: wire.NoTag}, make([]byte, 4096))
	add(&wire.R2T{LUN: wire.LUNField{0, 1}, ITT: 1, TTT: 1, BufferOffset: 4096, DesiredDataTransferLength: 4096}, nil)
	add(&wire.NOPIn{ITT: wire.NoTag, TTT: 3}, nil)
	add(&wire.AsyncMessage{Event: wire.AsyncLogoutRequest}, nil)
	add(&wire.TaskManagementResponse{ITT: 2}, nil)
	add(&wire.LogoutResponse{ITT: 2}, nil)
	add(&wire.Reject{Reason: wire.RejectDataDigest}, h[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		started := make(chan struct{})
		r := newRig(t, func(f *fake) {
			f.command()
			f.command()
			close(started)
			f.raw(b)
		}, overTCP)
		r.waitUp()
		ch := r.submit(readReq(0, 4096), writeReq(0, pattern(16384, 1)))
		<-started
		for range 2 {
			o := wait1(t, ch, "completion")
			if o.res.OK() && o.r.Op == backends.Read && o.r.Data.Len() != 4096 {
				t.Errorf("success with %d bytes", o.r.Data.Len())
			}
			o.r.Data.Release()
		}
		r.close()
		if len(ch) != 0 {
			t.Error("completed twice")
		}
	})
}
