// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// fakeReservation is the state of persistent reservations of a LUN, beside keys.
type fakeReservation struct {
	reserved bool              // WRITE EXCLUSIVE - ALL REGISTRANTS
	regs     map[string]uint64 // the last key of each initiator port; counts while in keys
	replace  bool              // a nexus has one registration, as on LIO; else one of each login
	aborts   bool              // PREEMPT AND ABORT is known
	preempts int
}

// conflicts tells whether a change by port is refused.
func (l *fakeLUN) conflicts(port string) bool {
	return l.pr.reserved && !slices.Contains(l.keys, l.pr.regs[port])
}

// reserve is PERSISTENT RESERVE. Caller holds the network's lock.
func (l *fakeLUN) reserve(port string, cdb *scsi.CDB, list []byte) ([]byte, backends.Result) {
	raw := (*[16]byte)(cdb)
	if l.noPR {
		return nil, sense(5, 0x20, 0)
	}
	if cdb.Opcode() == scsi.OpPersistentReserveIn {
		in, _ := scsi.DecodePersistentReserveIn(raw)
		if in.Action == scsi.ReadKeys {
			return scsi.RegisteredKeys{Keys: l.keys}.Append(nil), backends.Done()
		}
		if l.pr.reserved {
			return scsi.Reservation{Held: true, Type: scsi.WriteExclusiveAllRegistrants}.Append(nil), backends.Done()
		}
		return scsi.Reservation{Held: l.held, Key: 7, Type: scsi.WriteExclusive}.Append(nil), backends.Done()
	}
	out, _ := scsi.DecodePersistentReserveOut(raw)
	p, err := scsi.DecodeReserveParameters(list)
	if err != nil {
		return nil, sense(5, 0x1a, 0)
	}
	if l.pr.regs == nil {
		l.pr.regs = map[string]uint64{}
	}
	refused := backends.Result{Class: backends.ReservationConflict, Sent: backends.SentAnswered, Status: 0x18}
	mine := l.pr.regs[port]
	if out.Action != scsi.RegisterAndIgnore && (mine == 0 || mine != p.Key || !slices.Contains(l.keys, mine)) {
		return nil, refused
	}
	switch out.Action {
	case scsi.RegisterAndIgnore:
		if l.pr.replace {
			l.unregister(mine)
		}
		l.keys = append(l.keys, p.ActionKey)
		l.pr.regs[port] = p.ActionKey
	case scsi.Register:
		l.unregister(mine)
	case scsi.Reserve:
		l.pr.reserved = true
	case scsi.Preempt, scsi.PreemptAndAbort:
		if out.Action == scsi.PreemptAndAbort && !l.pr.aborts {
			return nil, sense(5, 0x24, 0)
		}
		if !slices.Contains(l.keys, p.ActionKey) {
			return nil, refused
		}
		l.pr.preempts++
		l.unregister(p.ActionKey)
	default:
		return nil, sense(5, 0x24, 0)
	}
	return nil, backends.Done()
}

// unregister removes a key; with the last one the reservation goes.
func (l *fakeLUN) unregister(key uint64) {
	l.keys = slices.DeleteFunc(l.keys, func(have uint64) bool { return have == key })
	if len(l.keys) == 0 {
		l.pr.reserved = false
	}
}
