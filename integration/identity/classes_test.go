// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/scripted"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
	"pathgate/multipath"
)

// row is one event of HAZARDS section 5 on one of two paths, and what has to come of
// it.
type row struct {
	name  string
	op    backends.Op
	do    scripted.Action
	times int           // how often on the path that got it first; 0: always
	all   bool          // on both paths
	quick time.Duration // command deadline; 0: long

	class  backends.Class // of the request; 0: OK
	other  bool           // it was carried out by the other path
	either bool           // or not: the path is out of use while it is proved
	health string         // of the path, at some moment; "": up throughout
	ghost  bool           // a write left a range held
}

func deferred() []byte {
	return scsi.Sense{Deferred: true, Key: scsi.MediumError, ASC: 0x0c}.AppendFixed(nil)
}

func stray(c *scripted.Command) { c.Send(wire.SCSIResponse{ITT: c.ITT + 1000}, nil) }

func dropping(e wire.AsyncEvent) scripted.Action {
	return func(c *scripted.Command) { c.Send(wire.AsyncMessage{Event: e}, nil) }
}

func rows() []row {
	w, rd := backends.Write, backends.Read
	up := func(c scsi.SenseCode, class backends.Class) row {
		return row{name: c.String(), op: w, do: scripted.Check(c), class: class}
	}
	down := func(c scsi.SenseCode) row {
		return row{name: c.String(), op: w, do: scripted.Check(c), times: 1, other: true, health: "down"}
	}
	list := []row{
		{name: "reset with commands in flight", op: w, do: scripted.Reset, times: 1, other: true, health: "down", ghost: true},
		{name: "reset, of a read", op: rd, do: scripted.Reset, times: 1, other: true, health: "down"},
		{name: "async 2", op: w, do: dropping(wire.AsyncConnectionDrop), times: 1, other: true, health: "down", ghost: true},
		{name: "async 3", op: w, do: dropping(wire.AsyncSessionDrop), times: 1, other: true, health: "down", ghost: true},
		{name: "command timeout", op: w, do: scripted.Silent, times: 1, other: true, quick: 100 * time.Millisecond},
		{name: "protocol violation", op: w, do: stray, times: 1, other: true, health: "down", ghost: true},
		{name: "reject 04", op: w, do: scripted.Rejected(wire.RejectProtocolError), times: 1, other: true, health: "down", ghost: true},
		{name: "reject 05", op: w, do: scripted.Rejected(wire.RejectCommandNotSupported), times: 1, other: true, health: "down", ghost: true},
		{name: "reject 09", op: w, do: scripted.Rejected(wire.RejectInvalidPDUField), times: 1, other: true, health: "down", ghost: true},
		{name: "short", op: rd, do: (*scripted.Command).Good, times: 1, other: true},
		{name: "short, everywhere", op: rd, do: (*scripted.Command).Good, all: true, class: backends.Transport},
		{name: "busy", op: w, do: scripted.Status(scsi.StatusBusy), times: 3},
		{name: "task set full", op: w, do: scripted.Status(scsi.StatusTaskSetFull), times: 3},
		{name: "reservation conflict", op: w, do: scripted.Status(scsi.StatusReservationConflict), class: backends.ReservationConflict},
		{name: "task aborted", op: w, do: scripted.Status(scsi.StatusTaskAborted), times: 3},
		{name: "task aborted for ever", op: w, do: scripted.Status(scsi.StatusTaskAborted), other: true},
		{name: "ACA active", op: w, do: scripted.Status(scsi.StatusACAActive), times: 1, other: true, health: "quarantined"},
		{name: "no sense", op: backends.Flush, do: scripted.Check(scsi.CodeNone), all: true},
		{name: "recovered error", op: backends.Flush, do: scripted.Check(scsi.MakeSenseCode(scsi.RecoveredError, 0x17, 1)), all: true},
		{name: "standby", op: w, do: scripted.Check(scsi.CodePortStandby), times: 1, other: true},
		{name: "unavailable", op: w, do: scripted.Check(scsi.CodePortUnavailable), times: 1, other: true},
		{name: "access changed", op: w, do: scripted.Check(scsi.CodeAccessStateChanged), times: 1, other: true},
		{name: "access change failed", op: w, do: scripted.Check(scsi.CodeImplicitTransitionFailed), times: 1, other: true},
		{name: "hardware", op: w, do: scripted.Check(scsi.CodeInternalTargetFailure), times: 1, other: true},
		{name: "hardware, everywhere", op: w, do: scripted.Check(scsi.CodeInternalTargetFailure), all: true, class: backends.Medium},
		{name: "no medium, everywhere", op: w, do: scripted.Check(scsi.CodeMediumNotPresent), all: true, class: backends.Transport, health: "down"},
		{name: "no logical unit", op: w, do: scripted.Check(scsi.CodeLUNotSupported), times: 1, other: true, health: "quarantined"},
		{name: "CRC, once", op: w, do: scripted.Check(scsi.CodeProtocolServiceCRC), times: 1},
		{name: "CRC, again", op: w, do: scripted.Check(scsi.CodeProtocolServiceCRC), other: true},
		{name: "aborted, for ever", op: w, do: scripted.Check(scsi.CodeInternalTargetFailureAbort), other: true, health: "down"},
		{name: "no sense data", op: w, do: scripted.Sense(nil), times: 1},
		{name: "unreadable sense data, again", op: w, do: scripted.Sense([]byte{0x33, 1, 2}), other: true},
		{name: "deferred error", op: w, do: scripted.Sense(deferred()), times: 1}, // of nothing that we wrote
		{name: "miscompare", op: backends.CompareAndWrite, do: scripted.Check(scsi.CodeMiscompareDuringVerify), all: true, class: backends.Miscompare},
		{name: "CAW, lost", op: backends.CompareAndWrite, do: scripted.Reset, times: 1, class: backends.Aborted, health: "down"},
		up(scsi.CodeWriteError, backends.Medium), up(scsi.CodeInvalidOpcode, backends.Unsupported),
		up(scsi.CodeLBAOutOfRange, backends.IllegalRequest), up(scsi.CodeInvalidFieldInCDB, backends.IllegalRequest),
		up(scsi.CodeInvalidFieldInParameters, backends.IllegalRequest), up(scsi.CodeParameterListLength, backends.IllegalRequest),
		up(scsi.CodeSpaceAllocationFailed, backends.NoSpace), up(scsi.CodeWriteProtected, backends.DataProtect),
		down(scsi.CodeInitializingRequired), down(scsi.CodeManualIntervention), down(scsi.CodeOffline), down(scsi.CodeMediumNotPresent),
	}
	for _, c := range []scsi.SenseCode{
		scsi.CodeAccessTransition, scsi.CodeBecomingReady, scsi.CodeSanitizeInProgress, scsi.CodeCommandsClearedByOther,
		scsi.CodeSomeCommandsClearedByEvent, scsi.CodeSoftThreshold, scsi.CodeReservationsPreempted,
		scsi.CodeReservationsReleased, scsi.CodeRegistrationsPreempted, scsi.CodeResetOccurred, scsi.CodeDeviceReset,
		scsi.CodeCapacityChanged,
		scsi.CodeReportedLUNsChanged, scsi.CodeInquiryChanged, scsi.CodeDeviceIdentifierChanged,
	} {
		proved := []scsi.Condition{scsi.ConditionReset, scsi.ConditionCapacity, scsi.ConditionIdentity, scsi.ConditionReservation}
		list = append(list, row{
			name: c.String(), op: w, do: scripted.Check(c), times: 2, either: slices.Contains(proved, c.Sense().Condition()),
		})
	}
	return list
}

// TestH08Rows: every row of the error table that a command can meet, over the wire:
// what the client is told, which path did the work, what became of the path, and
// whether a write may still run.
func TestH08Rows(t *testing.T) {
	for _, tt := range rows() {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}

func (tt *row) ops() []scsi.Opcode {
	switch tt.op {
	case backends.Read:
		return scripted.Reads
	case backends.Flush:
		return scripted.Flushes
	default:
		return scripted.Writes
	}
}

func (tt *row) run(t *testing.T) {
	u := scripted.NewUnit(1 << 20)
	u.Medium.Put(0, pattern(4096, 7))
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: u}})
	r := start(t, options{timers: func(m *multipath.Timers) {
		if tt.quick > 0 {
			m.Command = tt.quick
		}
	}}, tg.Addresses()...)
	r.up(2)
	d := r.device()
	var first atomic.Int32 // portal, from 1
	s := tg.On(scripted.Rule{
		Ops: tt.ops(), Times: tt.times, Do: tt.do,
		Match: func(c *scripted.Command) bool {
			first.CompareAndSwap(0, int32(c.Portal)+1)
			return tt.all || int(first.Load()) == c.Portal+1
		},
	})
	n, data := uint64(4096), pattern(4096, 9)
	switch tt.op {
	case backends.Read:
		data = nil
	case backends.Flush:
		n, data = 0, nil
	case backends.CompareAndWrite:
		data = append(pattern(4096, 7), data...)
	default:
	}
	q, ch := submit(d, tt.op, 0, n, data)
	res := r.wait(ch)
	if res.Class != cmp.Or(tt.class, backends.OK) || s.Hits() == 0 {
		t.Fatalf("got %+v, want %v; %d hits", res, tt.class, s.Hits())
	}
	if tt.op == backends.Read && res.OK() && !bytes.Equal(q.Data.Bytes(), pattern(4096, 7)) {
		t.Error("read other bytes")
	}
	q.Data.Release()
	bad := fmt.Sprintf("vmhba0:%d:1", first.Load()-1)
	if tt.op == backends.Write {
		if wrote := bytes.Equal(u.Medium.Bytes(0, 4096), pattern(4096, 9)); wrote != res.OK() {
			t.Errorf("written: %v", wrote)
		}
	}
	if other := r.path(fmt.Sprintf("vmhba0:%d:1", 2-first.Load())); !tt.either && tt.other != (other.Reads+other.Writes > 0) {
		t.Errorf("the other path: %+v", other)
	}
	switch tt.health {
	case "down":
		r.poll("loss of the path", func() bool { return r.log.count(multipath.PathDown, bad) > 0 })
	case "quarantined":
		r.poll("quarantine of the path", func() bool { return r.log.count(multipath.PathQuarantined, bad) > 0 })
	default:
		if n := r.log.count(multipath.PathDown, "") + r.log.count(multipath.PathQuarantined, ""); n > 0 {
			t.Errorf("a path was blamed: %v", r.states())
		}
	}
	if held := r.log.count(multipath.GhostHeld, bad) > 0; held != tt.ghost && tt.op == backends.Write {
		t.Errorf("ghost: %v, want %v", held, tt.ghost)
	}
	s.Remove()
	if res := r.flush(d); !res.OK() {
		t.Errorf("a flush afterwards: %+v", res)
	}
	if tt.class == backends.DataProtect {
		r.rescan() // read-only until a proof
	}
	// All comes back: the path, and writes to the same place.
	if res := r.write(d, 0, pattern(4096, 11)); !res.OK() {
		t.Errorf("a write afterwards: %+v", res)
	}
	r.up(2)
	if got, res := r.read(d, 0); !res.OK() || !bytes.Equal(got, pattern(4096, 11)) {
		t.Errorf("a read afterwards: %+v", res)
	}
}

// TestH08Deferred: a deferred error is that of an earlier write that was acknowledged
// already. The command that it came with is tried again; flushes fail until that
// write was repeated.
func TestH08Deferred(t *testing.T) {
	u := scripted.NewUnit(1 << 20)
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: u}})
	r := start(t, options{}, tg.Addresses()...)
	r.up(1)
	d := r.device()
	if res := r.write(d, 0, pattern(4096, 1)); !res.OK() {
		t.Fatalf("%+v", res)
	}
	tg.On(scripted.Rule{Ops: scripted.Writes, Times: 1, Do: scripted.Sense(deferred())})
	if res := r.write(d, 65536, pattern(4096, 2)); !res.OK() {
		t.Errorf("the command that it came with: %+v", res)
	}
	for range 2 {
		if res := r.flush(d); res.Class != backends.Medium {
			t.Errorf("a flush: %+v", res)
		}
	}
	for _, off := range []int{0, 65536} {
		if res := r.write(d, off, pattern(4096, 3)); !res.OK() {
			t.Errorf("written again: %+v", res)
		}
	}
	if res := r.flush(d); !res.OK() {
		t.Errorf("a flush of what was written again: %+v", res)
	}
}

// TestH08Logins: the rows about logins.
func TestH08Logins(t *testing.T) {
	for _, tt := range []struct {
		status wire.LoginStatus
		health string // of the path
		soon   bool   // tried again within seconds
	}{
		{wire.LoginAuthenticationFailure, "quarantined", false},
		{wire.LoginAuthorizationFailure, "quarantined", false},
		{wire.LoginUnsupportedVersion, "quarantined", false},
		{wire.LoginMissingParameter, "quarantined", false},
		{wire.LoginSessionTypeNotSupported, "quarantined", false},
		{wire.LoginNotFound, "quarantined", true},
		{wire.LoginTargetRemoved, "quarantined", true}, // once
		{wire.LoginTooManyConnections, "down", true},
		{wire.LoginTargetError, "down", true},
		{wire.LoginServiceUnavailable, "down", true},
		{wire.LoginOutOfResources, "down", true},
	} {
		t.Run(tt.status.String(), func(t *testing.T) {
			u := scripted.NewUnit(1 << 20)
			tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: u}})
			r := start(t, options{timers: func(m *multipath.Timers) { m.Gone = 100 * time.Millisecond }}, tg.Addresses()...)
			r.up(2)
			before := tg.Stats(0)
			tg.OnLogin(func(l scripted.Login) scripted.LoginAnswer {
				return scripted.LoginAnswer{Status: map[bool]wire.LoginStatus{true: tt.status}[l.Portal == 0 && !l.Discovery]}
			})
			tg.Cut(0)
			r.poll("health", func() bool { return r.path("vmhba0:0:1").Health == tt.health })
			if res := r.write(r.device(), 0, pattern(512, 1)); !res.OK() {
				t.Errorf("over the other path: %+v", res)
			}
			if tt.soon {
				r.poll("second attempt", func() bool { return tg.Stats(0).Refused >= before.Refused+2 })
			}
			tg.OnLogin(nil)
			if !tt.soon {
				return // a minute is not waited here
			}
			if tt.health == "down" {
				r.up(2)
			}
		})
	}
}
