// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"fmt"
	"math"
	"time"

	"pathgate/internal/buffer"
)

// Op is what a request does. The zero Op is invalid.
type Op uint8

// Operations. "Range" is [Offset, Offset+Length) in bytes.
const (
	// Read gives the bytes of the range in Data.
	Read Op = iota + 1
	// Write stores Data in the range.
	Write
	// Flush makes every write that completed before it was submitted durable.
	// It has no range.
	Flush
	// Unmap tells that the content of the range is not needed. What a later
	// read gives is undefined unless Info says that it is zero.
	Unmap
	// WriteZeroes makes the range read as zeros.
	WriteZeroes
	// CompareAndWrite stores the second half of Data in the range when the
	// range equals the first half, as one step. Length is half of Data's.
	CompareAndWrite
	// Verify compares the range with Data or, when Data is empty, checks that
	// it can be read.
	Verify
	// Cache asks to have the range at hand. It may do nothing.
	Cache
	// BlockStatus tells in Extents what the range is made of.
	BlockStatus
)

var opNames = [...]string{
	"", "read", "write", "flush", "unmap", "write-zeroes",
	"compare-and-write", "verify", "cache", "block-status",
}

// String gives the name as events and tables show it.
func (o Op) String() string {
	if o == 0 || int(o) >= len(opNames) {
		return fmt.Sprintf("op(%d)", uint8(o))
	}
	return opNames[o]
}

// Changes tells whether o can change the medium: whether an attempt of it whose
// end is not known leaves a ghost range.
func (o Op) Changes() bool {
	return o == Write || o == Unmap || o == WriteZeroes || o == CompareAndWrite
}

// Origin tells whose request it is. It is made once per client connection and
// never changes, so requests point to it. Nil: the gateway's own.
type Origin struct {
	VM         string // name of the VM, or "" for a client that is none
	Disk       string // name of the virtual disk within the VM
	Connection string // front-end and peer, for people
	// Priority is the VM's, as it is now. Nil: it has none of its own.
	Priority *Priority
}

// Extent is one run of bytes of the same kind in a BlockStatus answer.
type Extent struct {
	Length uint64
	Hole   bool // not allocated
	Zero   bool // reads as zeros
}

// Request is one operation on a Device or Session. Owners pool requests and use
// them again after completion; Reset prepares that. The device writes to
// Extents, Attempt, Lower and, for Read, Data; to nothing else.
type Request struct {
	Op Op
	// FUA asks that the data is durable at completion (Write, WriteZeroes,
	// CompareAndWrite, Unmap).
	FUA bool
	// NoUnmap asks WriteZeroes to leave the range allocated.
	NoUnmap bool
	// FastZero asks WriteZeroes to fail with [Unsupported] at once when it
	// would be no faster than writing zeros.
	FastZero bool
	// Offset and Length in bytes, multiples of the logical block. Length is not
	// 0 but for Flush.
	Offset, Length uint64
	// Data is the payload: see the package comment for who holds it when.
	Data buffer.Vec
	// Extents is the answer to BlockStatus, in order from Offset. It may end
	// before the range does, but not be empty on OK.
	Extents []Extent
	// PathWait is how long it may wait while the device has no path.
	PathWait PathWait
	// Origin tells whose request it is; it may be nil.
	Origin *Origin
	// Completer is told the result. Not nil.
	Completer Completer
	// Attempt is written by a Session at completion when Sent is not None.
	Attempt Attempt
	// Lower belongs to the device between Submit and completion: how it finds
	// its own state of this request. Guarded by the device's lock.
	Lower any
}

// Reset gives back Data and clears r for another use; capacities stay.
func (r *Request) Reset() {
	r.Data.Release()
	*r = Request{Data: r.Data, Extents: r.Extents[:0]}
}

// PathWait is how long a request waits while a LUN has no path, in nanoseconds from
// the loss of the last one.
type PathWait int64

// The values of a PathWait that are no time.
const (
	WaitAsDevice PathWait = 0             // as the LUN's own rule says
	WaitNot      PathWait = 1             // it ends at once
	WaitForever  PathWait = math.MaxInt64 // for as long as it takes
)

// String gives a time, "fail" or "queue", as the configuration has them.
func (w PathWait) String() string {
	switch w {
	case WaitAsDevice:
		return "auto"
	case WaitNot:
		return "fail"
	case WaitForever:
		return "queue"
	}
	return time.Duration(w).String()
}

// Attempt names one sending of a command, so that a late end of it can be told
// from others, in memory and in the store.
type Attempt struct {
	Generation uint64 // login of the session that carried it
	ITT        uint32 // initiator task tag
	CmdSN      uint32
	// DataOwed tells that the target still waited for Data-Out when the
	// attempt ended, so ABORT TASK would not have fenced it.
	DataOwed bool
}

// Completer is told the end of a request.
type Completer interface {
	// Complete is called once per request, by Batch.Run, with no lock held. The
	// request is the completer's again. Complete must not block; it may submit
	// further requests with b.
	Complete(b *Batch, r *Request, res Result)
}

// CompleterFunc makes a Completer of a function.
type CompleterFunc func(b *Batch, r *Request, res Result)

// Complete calls f.
func (f CompleterFunc) Complete(b *Batch, r *Request, res Result) { f(b, r, res) }
