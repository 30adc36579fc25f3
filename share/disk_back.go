// SPDX-License-Identifier: Apache-2.0

package share

// Aborted tells what became of an Abort.
type Aborted uint8

const (
	// AbortIssued: the device has the command. It is for the device to abort.
	AbortIssued Aborted = iota
	// AbortTaken: the command is the caller's again, and was never issued.
	AbortTaken
	// AbortIssuing: another goroutine is handing it to the device. After Settle
	// the device has it.
	AbortIssuing
)

// Abort takes back a command that was submitted, if it still waits. Others may
// be able to go then: the pacer sees to it. It may be called with the caller's
// locks held, if issue takes none of them.
func (d *Disk) Abort(c *Cmd) Aborted {
	d.mu.Lock()
	defer d.release()
	d.collect()
	switch c.shell.where {
	case inWaiting:
		d.waiting.filter(func(q *Cmd) bool { return q == c })
		d.returned(c)
	case inCore:
		d.turn(0, Event{Kind: Abort, Cmd: c})
		d.inCore--
		d.returned(c)
	case inOutbox:
		d.outbox.filter(func(q *Cmd) bool { return q == c })
		d.recall(c)
	default:
		for _, q := range d.chunk[:d.issuing] {
			if q == c {
				return AbortIssuing
			}
		}
		return AbortIssued
	}
	return AbortTaken
}

// Settle waits until the device has what was being handed to it. The caller
// holds no lock that issue takes.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.release()
	if d.issuing > 0 {
		d.issued.Wait()
	}
}

// returned counts c as not queued any more.
func (d *Disk) returned(c *Cmd) {
	c.shell.where = nowhere
	d.word.subQueued(1)
}

// recall takes back a command that was dispatched and not issued. Its flow was
// charged for it, as for one that ends at once.
func (d *Disk) recall(c *Cmd) {
	c.shell.where = nowhere
	c.shell.flow.account.end()
	d.commands.Add(-1)
	d.word.takeBack(1, c.cost)
}

// Reset takes all commands of f back that wait, and appends them to dst.
func (d *Disk) Reset(f *Flow, dst []*Cmd) []*Cmd {
	d.mu.Lock()
	defer d.release()
	return d.reset(f, dst)
}

func (d *Disk) reset(f *Flow, dst []*Cmd) []*Cmd {
	n := len(dst)
	take := func(c *Cmd) bool {
		if c.shell.flow == f {
			dst = append(dst, c)
			return true
		}
		return false
	}
	d.outbox.filter(take)
	for _, c := range dst[n:] {
		d.recall(c)
	}
	n = len(dst)
	d.collect()
	d.waiting.filter(take)
	d.turn(0, Event{Kind: ResetFlow, Flow: f.id})
	back := d.core.Returned()
	d.inCore -= len(back)
	dst = append(dst, back...)
	for _, c := range dst[n:] {
		d.returned(c)
	}
	return dst
}

// Close ends scheduling and gives back what waits: every command has either
// been issued, and completes, or is in the list. What is submitted meanwhile or
// afterwards is issued at once, for the device to refuse. Twice is safe.
func (d *Disk) Close() []*Cmd {
	d.mu.Lock()
	defer d.release()
	if d.closed {
		return nil
	}
	d.closed = true
	d.word.close()
	var list []*Cmd
	for _, f := range d.flows {
		if f != nil {
			f.fast.Store(false)
			list = d.reset(f, list)
		}
	}
	d.watch(false)
	return list
}
