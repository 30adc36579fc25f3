// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"errors"
	"os"
	"sync"
)

// fileWorkers is how many system calls a file device has under way at most. A
// call may wait for a disk, which no submitter may.
const fileWorkers = 8

// File is a disk in a regular file or on a block device. Requests are carried
// out by a few goroutines of its own, changes and what overlaps them in the order of
// their arrival: the kernel may show a read one half of a block that is being
// written. Make it with OpenFile; the methods are safe for concurrent use.
//
// Stages: Submit checks and accepts (acceptLocked), and carries small requests out
// that need no disk (submitQuickly). Of the others a worker takes the oldest that
// waits for nothing (work), makes the system calls with no lock held (fileWorker.do),
// and completes it with its own batch (endLocked).
type File struct {
	f        *os.File
	fd       int // of f, for the system calls that os does not have
	block    bool
	quick    quickness
	pool     *Pool
	watchers Watchers
	workers  sync.WaitGroup
	closing  sync.Once
	closeErr error
	growing  sync.Mutex // held over a growth; taken before mu

	mu      sync.Mutex
	info    Info // its Size grows, the rest never changes
	wake    sync.Cond
	ready   *fileOp // head of the queue, linked by next
	last    *fileOp // its tail
	changes opRing  // changes that have not ended, oldest first
	reads   opRing  // reads and comparisons that have not ended, oldest first
	all     opRing  // everything that has not ended, oldest first
	current *cohort // what is accepted now belongs to it
	resets  []*cohort
	closed  bool
	free    *fileOp // linked by next
	lost    error   // a flush failed: see fileWorker.flush
}

// fileOp is a request inside a File.
type fileOp struct {
	r       *Request
	next    *fileOp
	waits   int       // older overlapping operations that have not ended, of which one is a change
	blocks  []*fileOp // younger ones that wait for this one
	started bool
	did     bool // submitQuickly has carried it out
	cohort  *cohort
	inAll   opLink
	inRange opLink
}

// cohort is what was accepted between two resets. done is set by the later one.
type cohort struct {
	left int
	done func(*Batch, Result)
}

// RunBatch tells that the reset has ended.
func (c *cohort) RunBatch(b *Batch) { c.done(b, Done()) }

// Info describes the disk.
func (d *File) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// Grant gives the credits of a connection.
func (d *File) Grant(*Origin) *Grant { return NewGrant(memCommands, d.pool) }

// Watch has fn called after the disk has grown (Grow).
func (d *File) Watch(fn func(Change)) (stop func()) { return d.watchers.Watch(fn) }

// Close carries out what was accepted, makes it durable and closes the file.
// Every call waits for the end and gives the same error.
func (d *File) Close() error {
	d.closing.Do(func() {
		d.mu.Lock()
		d.closed = true
		d.wake.Broadcast()
		d.mu.Unlock()
		d.workers.Wait()
		if !d.info.Caps.Has(ReadOnly) {
			d.closeErr = d.f.Sync()
		}
		d.closeErr = errors.Join(d.closeErr, d.f.Close())
	})
	return d.closeErr
}

var (
	_ Device = (*File)(nil)
	_ Device = (*Memory)(nil)
)
