// SPDX-License-Identifier: Apache-2.0

package multipath

import "time"

// historyLen is how many of its last changes a path remembers: some losses with what
// came before and after each.
const historyLen = 16

// PathChange is one change of a path's health or access, as they were after it.
type PathChange struct {
	Time   time.Time
	Health Health
	Access Access
	// Reason is why, for people; may be empty.
	Reason string
}

// history is the last changes of a path, in a ring. The zero value is empty.
type history struct {
	ring [historyLen]PathChange
	n    uint64 // ever added
}

func (h *history) add(c PathChange) {
	h.ring[h.n%historyLen] = c
	h.n++
}

// list gives what is kept, oldest first.
func (h *history) list() []PathChange {
	kept := min(h.n, historyLen)
	list := make([]PathChange, 0, kept)
	for i := h.n - kept; i < h.n; i++ {
		list = append(list, h.ring[i%historyLen])
	}
	return list
}

// rememberLocked notes a change of p's health or access.
func (p *Path) rememberLocked(reason string, now time.Time) {
	p.history.add(PathChange{Time: now, Health: p.health, Access: p.access, Reason: reason})
}

// PathHistory gives the last changes of the path of that name, oldest first; nil when
// there is no such path.
func (m *Manager) PathHistory(name string) []PathChange {
	for _, d := range m.Devices() {
		if p := d.path(name); p != nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			return p.history.list()
		}
	}
	return nil
}
