// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"

	"pathgate/backends"
)

func check(key, asc, ascq uint8) backends.Result { return sense(key, asc, ascq) }

func status(s uint8) backends.Result {
	return backends.Result{Class: backends.Busy, Sent: backends.SentAnswered, Status: s}
}

func transport(s backends.Sent) backends.Result {
	return backends.Result{Class: backends.Transport, Sent: s}
}

// Each row of HAZARDS section 5 that a result can fall under (H8).
func TestH08Classification(t *testing.T) {
	noSense := backends.Result{Class: backends.Medium, Sent: backends.SentAnswered, Status: 2}
	deferred := check(3, 0x0c, 0)
	deferred.Sense.Deferred = true
	for _, c := range []struct {
		row   string
		op    backends.Op
		res   backends.Result
		want  action
		ghost bool
		more  verdict // effect, tries, once, class, flushLost: what is not zero
	}{
		{"not yet sent", backends.Write, transport(backends.SentNone), other, false, verdict{}},
		{"in flight at the loss", backends.Write, transport(backends.SentSome), other, true, verdict{}},
		{"in flight at the loss, zeroes", backends.WriteZeroes, transport(backends.SentSome), other, true, verdict{}},
		{"in flight at the loss, unmap", backends.Unmap, transport(backends.SentSome), other, true, verdict{}},
		{"in flight at the loss, a read", backends.Read, transport(backends.SentSome), other, false, verdict{}},
		{"in flight at the loss, a flush", backends.Flush, transport(backends.SentSome), other, false, verdict{}},
		{"in flight at the loss, compare", backends.CompareAndWrite, transport(backends.SentSome), deliver, true, verdict{class: backends.Aborted}},
		{"not yet sent, compare", backends.CompareAndWrite, transport(backends.SentNone), other, false, verdict{}},
		{"aborted after its deadline", backends.Write, backends.Result{Class: backends.Aborted, Sent: backends.SentAnswered}, other, false, verdict{}},
		{"GOOD but short", backends.Read, transport(backends.SentAnswered), other, false, verdict{once: true, effect: effectStreak}},
		{"BUSY", backends.Write, status(0x08), same, false, verdict{effect: effectSlower}},
		{"TASK SET FULL", backends.Write, status(0x28), same, false, verdict{effect: effectSlower}},
		{"BUSY, compare", backends.CompareAndWrite, status(0x08), same, false, verdict{effect: effectSlower}},
		{"RESERVATION CONFLICT", backends.Write, status(0x18), deliver, false, verdict{class: backends.ReservationConflict}},
		{"TASK ABORTED", backends.Write, status(0x40), same, false, verdict{tries: 3}},
		{"TASK ABORTED, compare", backends.CompareAndWrite, status(0x40), deliver, false, verdict{class: backends.Aborted}},
		{"ACA ACTIVE", backends.Write, status(0x30), other, false, verdict{effect: effectRefuse}},
		{"cleared by another", backends.Write, check(6, 0x2f, 0), same, false, verdict{tries: 3}},
		{"cleared by iSCSI event", backends.Write, check(0xb, 0x47, 0x7f), same, false, verdict{tries: 3}},
		{"ALUA transition", backends.Write, check(2, 4, 0x0a), same, false, verdict{waits: true, effect: effectTransition}},
		{"becoming ready", backends.Write, check(2, 4, 1), same, false, verdict{}},
		{"sanitize", backends.Write, check(2, 4, 0x1b), same, false, verdict{}},
		{"standby", backends.Write, check(2, 4, 0x0b), other, false, verdict{waits: true, effect: effectStandby}},
		{"unavailable", backends.Write, check(2, 4, 0x0c), other, false, verdict{waits: true, effect: effectUnavailable}},
		{"access state changed", backends.Write, check(6, 0x2a, 6), other, false, verdict{waits: true}},
		{"implicit transition failed", backends.Write, check(6, 0x2a, 7), other, false, verdict{waits: true}},
		{"initializing required", backends.Write, check(2, 4, 2), other, false, verdict{effect: effectFault}},
		{"manual intervention", backends.Write, check(2, 4, 3), other, false, verdict{effect: effectFault}},
		{"offline", backends.Write, check(2, 4, 0x12), other, false, verdict{effect: effectFault}},
		{"no medium", backends.Write, check(2, 0x3a, 0), other, false, verdict{effect: effectFault}},
		{"medium error", backends.Read, check(3, 0x11, 0), deliver, false, verdict{class: backends.Medium}},
		{"hardware error", backends.Read, check(4, 0x44, 0), other, false, verdict{once: true, effect: effectStreak, class: backends.Medium}},
		{"unknown opcode", backends.Unmap, check(5, 0x20, 0), deliver, false, verdict{class: backends.Unsupported, effect: effectUnsupported}},
		{"out of range", backends.Read, check(5, 0x21, 0), deliver, false, verdict{class: backends.IllegalRequest}},
		{"invalid field", backends.Read, check(5, 0x24, 0), deliver, false, verdict{class: backends.IllegalRequest}},
		{"no such unit", backends.Read, check(5, 0x25, 0), other, false, verdict{effect: effectRefuse, class: backends.NoPath}},
		{"reset", backends.Write, check(6, 0x29, 0), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"reset, compare", backends.CompareAndWrite, check(6, 0x29, 0), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"capacity changed", backends.Write, check(6, 0x2a, 9), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"identity changed", backends.Write, check(6, 0x3f, 5), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"LUNs changed", backends.Write, check(6, 0x3f, 0x0e), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"inquiry data changed", backends.Write, check(6, 0x3f, 3), same, false, verdict{tries: 5, effect: effectRecheck}},
		{"reservations preempted", backends.Write, check(6, 0x2a, 3), same, false, verdict{tries: 5}},
		{"soft threshold", backends.Write, check(6, 0x38, 7), same, false, verdict{tries: 5}},
		{"thin pool full", backends.Write, check(7, 0x27, 7), deliver, false, verdict{class: backends.NoSpace}},
		{"write protected", backends.Write, check(7, 0x27, 0), deliver, false, verdict{class: backends.DataProtect, effect: effectProtected}},
		{"CRC", backends.Write, check(0xb, 0x47, 5), same, false, verdict{tries: 1, effect: effectStreak}},
		{"aborted command", backends.Write, check(0xb, 0, 0), same, false, verdict{tries: 3, effect: effectStreak}},
		{"aborted command, compare", backends.CompareAndWrite, check(0xb, 0, 0), deliver, false, verdict{class: backends.Aborted}},
		{"no sense", backends.Write, noSense, same, false, verdict{tries: 1, effect: effectStreak}},
		{"miscompare", backends.CompareAndWrite, check(0xe, 0x1d, 0), deliver, false, verdict{class: backends.Miscompare}},
		{"deferred error", backends.Write, deferred, same, false, verdict{tries: 3, flushLost: true}},
		{"good", backends.Write, backends.Done(), deliver, false, verdict{}},
	} {
		t.Run(c.row, func(t *testing.T) {
			got := classify(c.op, c.res)
			if got.action != c.want || got.ghost != c.ghost {
				t.Errorf("got %v, ghost %v; want %v, %v", got.action, got.ghost, c.want, c.ghost)
			}
			m := c.more
			if m.effect != got.effect && c.want != deliver || m.tries != got.tries && c.want == same ||
				m.once != got.once || m.class != got.class || m.waits != got.waits || m.flushLost != got.flushLost {
				t.Errorf("got %+v, want %+v", got, m)
			}
			if got.action == same && got.reason == 0 {
				t.Error("SAME without a reason to park")
			}
			if full := got.reason == backends.ParkFull; full != (c.res.Status == 0x28) {
				t.Errorf("status %#02x is parked as %v", c.res.Status, got.reason)
			}
		})
	}
}
