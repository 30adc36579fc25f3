// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"maps"

	"pathgate/internal/scsi"
)

// Stats is what a portal has got since the beginning.
type Stats struct {
	// Attempts counts all logins, Logins those that became sessions, Refused those
	// that were told a status.
	Attempts, Logins, Refused int
	// Discoveries counts SendTargets, NOPs NOP-Out, Tasks task management, Logouts
	// logouts.
	Discoveries, NOPs, Tasks, Logouts int
	// Commands counts SCSI commands, WriteBytes and ReadBytes what went over the
	// wire for those that were carried out.
	Commands              map[scsi.Opcode]int
	WriteBytes, ReadBytes uint64
}

// Data counts the reads and writes.
func (s Stats) Data() (n int) {
	for _, op := range append(Reads, Writes...) {
		n += s.Commands[op]
	}
	return n
}

// Stats gives the counters of a portal.
func (tg *Target) Stats(portal int) Stats {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	s := tg.stats[portal]
	s.Commands = maps.Clone(s.Commands)
	return s
}

func (tg *Target) count(portal int, f func(*Stats)) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	s := &tg.stats[portal]
	if s.Commands == nil {
		s.Commands = map[scsi.Opcode]int{}
	}
	f(s)
}
