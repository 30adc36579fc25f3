// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"math/big"
	"time"
)

// simDevice is a FIFO device: commands are served one after the other at rate
// CU/s, and each takes the idle latency base more, in which the next is served.
// With seek > 0 it is a disk instead: seek when a command does not begin where
// the last one ended, and perUnit for each CU.
type simDevice struct {
	rate          int64 // CU/s
	base          Instant
	seek, perUnit Instant

	queue simRing // waits, or (the first) is served
	line  simRing // served, but for the idle latency

	// Service of the present busy period began at start, and units have been
	// begun since: so that rounding does not add up.
	start    Instant
	units    Unit
	headDone Instant
	end      uint64 // LBA behind the last command served
	sent     uint64 // commands taken, for their path
}

// simOp is a command in the device; req is nil for that of another host.
type simOp struct {
	req   *simReq
	cost  Unit
	lba   uint64
	bytes uint32
	path  uint8
	done  Instant
}

// simFIFO is the device of the acceptance table.
func simFIFO(rate int64) simDevice {
	return simDevice{rate: rate, base: Instant(200 * time.Microsecond)}
}

// simDisk is the device of row 7.
func simDisk(seek, perUnit time.Duration) simDevice {
	return simDevice{seek: Instant(seek), perUnit: Instant(perUnit)}
}

// add takes a command. Two equal paths take turns.
func (d *simDevice) add(now Instant, op simOp) {
	op.path = uint8(d.sent % 2)
	d.sent++
	d.queue.push(op)
	if d.queue.len() == 1 {
		d.start, d.units = now, 0
		d.begin()
	}
}

// begin starts service of the first command, at the end of the last.
func (d *simDevice) begin() {
	op := d.queue.first()
	if d.seek > 0 {
		if op.lba != d.end {
			d.start += d.seek
		}
		d.start += d.perUnit * Instant(op.cost)
		d.end = op.lba + uint64(op.bytes)/512
		d.headDone = d.start
		return
	}
	d.units += op.cost
	d.headDone = d.start + Instant(int64(d.units)*1e9/d.rate)
}

// next is when something in the device changes.
func (d *simDevice) next() Instant {
	t := Instant(math.MaxInt64)
	if d.queue.len() > 0 {
		t = d.headDone
	}
	if d.line.len() > 0 {
		t = min(t, d.line.first().done)
	}
	return t
}

// completed gives the next command that has ended by now; nil: none. Those of
// the other host are sent again at once.
func (d *simDevice) completed(now Instant) *simReq {
	for {
		for d.queue.len() > 0 && d.headDone <= now {
			op := d.queue.pop()
			op.done = d.headDone + d.base
			d.line.push(op)
			if d.queue.len() > 0 {
				d.begin()
			}
		}
		if d.line.len() == 0 || d.line.first().done > now {
			return nil
		}
		op := d.line.pop()
		if op.req != nil {
			return op.req
		}
		d.add(now, op)
	}
}

// setRate changes the capacity; what is left of the command in service goes on
// at the new one.
func (d *simDevice) setRate(now Instant, rate int64) {
	if d.queue.len() > 0 {
		left := new(big.Int).Mul(big.NewInt(int64(d.headDone-now)), big.NewInt(d.rate))
		left.Div(left, big.NewInt(rate))
		d.headDone = now + Instant(left.Int64())
		d.start, d.units = d.headDone, 0
	}
	d.rate = rate
}

// kill gives what is in flight on the second path, and forgets it.
func (d *simDevice) kill(now Instant) []simOp {
	var lost []simOp
	keep := func(r *simRing) {
		var kept simRing
		for r.len() > 0 {
			if op := r.pop(); op.path == 1 {
				lost = append(lost, op)
			} else {
				kept.push(op)
			}
		}
		*r = kept
	}
	keep(&d.line)
	keep(&d.queue)
	if d.queue.len() > 0 {
		d.start, d.units = now, 0
		d.begin()
	}
	return lost
}

// simRing is a FIFO of commands.
type simRing struct {
	ops  []simOp
	head int
}

func (r *simRing) len() int      { return len(r.ops) - r.head }
func (r *simRing) first() *simOp { return &r.ops[r.head] }

func (r *simRing) push(op simOp) {
	if r.head > 64 && r.head > len(r.ops)/2 {
		r.ops = r.ops[:copy(r.ops, r.ops[r.head:])]
		r.head = 0
	}
	r.ops = append(r.ops, op)
}

func (r *simRing) pop() simOp {
	op := r.ops[r.head]
	r.ops[r.head].req = nil
	r.head++
	return op
}
