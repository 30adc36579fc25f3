// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// demand is what a CDB asks for, as far as it is known before any data. The
// entry's check writes it.
type demand struct {
	// dir is which way the data goes; length is how much of it the CDB asks for:
	// the bytes of a block range or parameter list, 0 for an allocation length.
	dir    scsi.Direction
	length uint64
	// total is length by the CDB, where no more than expected is moved.
	total uint64
	// partial: Data-Out may be whole blocks of the beginning of it.
	partial bool
	// alloc is the allocation length of a DataIn command that has one.
	alloc uint64
	// exact: Data-Out has to be just as long as the initiator expects.
	exact bool
	// short: Data-Out is longer than the initiator expects.
	short bool
	// work is how many bytes it holds beside its data while it is carried out.
	work  uint64
	check scsi.ByteCheck // of VERIFY
	unmap bool           // of WRITE SAME
	// blockRange is the range of the medium.
	blockRange
}

// find gives the link that a LUN field names, or nil.
func (n *Nexus) find(f scsi.LUNField) *link {
	lun, err := f.LUN()
	if err != nil {
		return nil
	}
	return n.link(lun)
}

// Begin takes the next command of the nexus. True: it is in the task set; the
// caller collects c.Want bytes in c.Out and calls Submit, unless CommandDone
// comes before. False: it has ended, c tells how, and CommandDone does not come;
// Data-Out that comes for it is to be dropped.
func (n *Nexus) Begin(c *Command) bool {
	c.clear()
	if !c.Read && !c.Write {
		c.Expected = 0
	}
	l := n.find(c.LUN)
	if l == nil {
		n.withoutUnit(c)
		return false
	}
	t := &c.task
	t.l = l
	u := l.u
	e, listed := u.lookup(&c.CDB)
	t.e = e
	wrong, fits := scsi.Sense{}, false
	if e != nil {
		wrong = t.examine()
		fits = t.match()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !t.admitLocked(listed) {
		return false
	}
	if wrong.Key != scsi.NoSense {
		c.refuse(wrong)
		return false
	}
	if e.changes && (l.readOnly || u.modes.writeProtected || u.readOnly()) {
		c.refuse(u.protectionLocked())
		return false
	}
	if !fits {
		c.refuse(codeInvalidInformationUnit.Sense())
		return false
	}
	if t.credit = t.payload(); !l.grant.Take(t.credit) {
		c.refuseStatus(l.full())
		return false
	}
	if t.demand.dir == scsi.DataOut {
		c.Want = uint32(t.demand.length)
	}
	t.state = taskCollecting
	u.tasks.add(t)
	return true
}

// full is the status when there is no credit for a command; for an initiator that has none in
// the task set, BUSY (SAM-5, Status codes).
func (l *link) full() scsi.Status {
	if n, _ := l.grant.Outstanding(); n == 0 {
		return scsi.StatusBusy
	}
	return scsi.StatusTaskSetFull
}

// admitLocked makes the checks that come before the fields of the CDB (SAM-5,
// Status precedence).
func (t *task) admitLocked(listed bool) bool {
	c, l, e := t.c, t.l, t.e
	if l.gone {
		c.refuse(scsi.CodeLUNotSupported.Sense())
		return false
	}
	if e == nil || !e.quiet {
		if code, ok := l.attention.take(); ok {
			c.refuse(code.Sense())
			return false
		}
	}
	switch {
	case e == nil && listed:
		c.refuse(badField(1, 4)) // a service action that does not exist
	case e == nil:
		c.refuse(scsi.CodeInvalidOpcode.Sense())
	case c.Attribute >= ACA:
		c.refuse(codeInvalidMessage.Sense())
	case c.Read && c.Write:
		c.refuse(codeInvalidInformationUnit.Sense())
	case e.access > l.level:
		c.refuseStatus(scsi.StatusReservationConflict)
	case !l.claimed && e.uses() && !l.claimLocked(c):
	default:
		if x := l.u.erasing.Load(); x != nil && !e.quiet && !(e.erases && x.over.Load()) {
			c.refuse(x.sense())
			return false
		}
		return true
	}
	return false
}

// examine checks the fields of the CDB. No sense: nothing is wrong.
func (t *task) examine() scsi.Sense {
	for i := 1; i < len(t.c.CDB); i++ {
		if extra := t.c.CDB[i] &^ t.e.usage[i]; extra != 0 {
			return badBits(i, extra)
		}
	}
	if t.e.check != nil {
		return t.e.check(t)
	}
	return scsi.Sense{}
}

// payload is how many bytes t will hold.
func (t *task) payload() int64 {
	d := &t.demand
	switch {
	case d.dir == scsi.DataOut:
		return int64(d.length + d.work)
	case d.op == backends.Read:
		return int64(d.bytes)
	}
	return int64(d.work)
}

// match compares what the CDB moves with what the initiator expects. False: the
// command cannot be carried out so.
func (t *task) match() bool {
	c, d := t.c, &t.demand
	expected, block := uint64(c.Expected), uint64(t.l.u.cfg.BlockSize)
	d.total = d.length
	switch d.dir {
	case scsi.DataOut:
		switch {
		case d.length == 0:
		case expected < d.length:
			d.short = true
			if c.Read || !d.partial || expected%block != 0 {
				return false
			}
			d.length, d.bytes = expected, expected
		case c.Read, d.exact && expected != d.length:
			return false
		}
	case scsi.DataIn:
		switch {
		case c.Write: // nothing is expected this way
			d.bytes, d.total, d.alloc = 0, 0, 0
		case d.length > expected: // read no more than is wanted
			d.bytes = min(d.bytes, (expected+block-1)/block*block)
		}
	case scsi.NoData:
	}
	return true
}

// Submit carries out commands of this nexus that Begin let in, with all their
// Data-Out, in order. Those that have ended meanwhile are passed over.
func (n *Nexus) Submit(b *backends.Batch, cs []*Command) {
	ready := n.ready[:0]
	for i := 0; i < len(cs); {
		u := cs[i].task.l.u
		u.mu.Lock()
		for ; i < len(cs) && cs[i].task.l.u == u; i++ {
			if t := &cs[i].task; t.state == taskCollecting {
				ready = u.tasks.start(t, ready)
			}
		}
		u.mu.Unlock()
	}
	n.reqs = runTasks(b, ready, n.reqs)
	clear(ready)
	n.ready = ready[:0]
}

// Refuse ends c, which Begin let in and which was not submitted, with CHECK
// CONDITION and code: its Data-Out did not come as it should. One that has ended
// meanwhile is passed over. It is called as Submit is.
func (n *Nexus) Refuse(b *backends.Batch, c *Command, code scsi.SenseCode) {
	t := &c.task
	u := t.l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.state != taskCollecting {
		return
	}
	t.state = taskEnding
	c.refuse(code.Sense())
	b.Defer(t)
}
