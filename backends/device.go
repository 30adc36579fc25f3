// SPDX-License-Identifier: Apache-2.0

package backends

// Device is a disk: what front-ends use. All methods are safe for concurrent
// use and none blocks.
type Device interface {
	// Info tells what the device is now. It changes only together with a call
	// of the Watch functions.
	Info() Info

	// Submit takes the requests, in order. reqs is borrowed until Submit
	// returns, the requests until their completion. A request that is wrong
	// (unaligned, out of range) completes with IllegalRequest; after Close
	// everything completes with Aborted.
	//
	// Requests may be carried out in any order, but for two things: a Flush
	// covers what completed before it was submitted, and of two overlapping
	// changes the one submitted later is never undone by the earlier one after
	// both have completed.
	Submit(b *Batch, reqs []*Request)

	// Abort asks that r, submitted to this device and not yet completed for
	// all the caller knows, ends soon. r completes with Aborted if it could be
	// stopped, with its own result otherwise; once it has completed, it cannot
	// change the medium any more, except where the device keeps its range held
	// (a ghost). The caller keeps r from being used again until Abort returns.
	Abort(b *Batch, r *Request)

	// Reset aborts every request that was submitted before. done is called once,
	// by the Run of some batch, when the device has completed all of them (those
	// in another goroutine's batch may be delivered a little later); its result
	// is OK, or Transport when one of them may still run below and is held.
	Reset(b *Batch, done func(b *Batch, res Result))

	// Grant gives the credits of a new connection of o, which may be nil. There
	// is nothing to close: what is outstanding comes back on completion.
	Grant(o *Origin) *Grant

	// Watch has fn called after each change, until stop is called. fn must not
	// block and may be called on any goroutine, never while a lock is held.
	Watch(fn func(Change)) (stop func())

	// Close ends the device: what is outstanding completes (drained, or
	// aborted when it cannot be), and then Close returns. Twice is safe.
	Close() error
}

// Change tells what has changed, as bits.
type Change uint8

const (
	// SizeChanged: Info().Size.
	SizeChanged Change = 1 << iota
	// CapsChanged: limits, capabilities or cache truth.
	CapsChanged
	// DegradedChanged: how many paths carry the device's extents (Degraded, Cut).
	DegradedChanged
	// AvailabilityChanged: Info().Available.
	AvailabilityChanged
)

// Info describes a device. Sizes are in bytes.
type Info struct {
	// Size is a multiple of LogicalBlock.
	Size uint64
	// LogicalBlock is the unit of Offset and Length, PhysicalBlock that of
	// efficient writes; powers of two, LogicalBlock at least 512.
	LogicalBlock, PhysicalBlock uint32
	// MaxTransfer is the largest Length of Read, Write, Verify; MaxUnmap that
	// of Unmap, MaxZeroes that of WriteZeroes. 0: no limit. The submitter
	// splits; devices complete longer requests with IllegalRequest.
	MaxTransfer         uint32
	MaxUnmap, MaxZeroes uint64
	// MaxAtomic is the longest Write that is done wholly or not at all, for readers
	// and over a loss of power. 0: no more is promised than one logical block.
	MaxAtomic uint32
	// MaxCompare is the longest CompareAndWrite, which is one step for readers too.
	// 0: as MaxTransfer.
	MaxCompare uint32
	// OptimalTransfer is the preferred Length; 0: none.
	OptimalTransfer uint32
	// Caps tells what the device does.
	Caps Caps
	// WriteCache tells what a completed write without FUA means.
	WriteCache CacheMode
	// Identity is the designator that tells this disk from every other one, as
	// "naa.6001405...". Empty: it has none.
	Identity string
	// Available: requests are served now, or at worst after a path's return.
	// False: the disk's LUN has not been found yet, or is gone for good.
	Available bool
	// Degraded lists the parts that are served by fewer paths than they have.
	Degraded []Range
	// Cut lists the parts that no path serves now: their requests wait, or fail.
	Cut []Range
}

// A Holder is a Device that may hold parts back.
type Holder interface {
	// Held adds to list the parts of within whose changes wait until it is certain that
	// an earlier one, sent over a path that was lost, runs no more. They come in any order
	// and may overlap. Nobody is told when that changes.
	Held(list []Range, within Range) []Range
}

// Range is a run of bytes.
type Range struct{ Offset, Length uint64 }

// Intersect gives what r and o have in common; ok: that is something.
func (r Range) Intersect(o Range) (common Range, ok bool) {
	from, to := max(r.Offset, o.Offset), min(r.Offset+r.Length, o.Offset+o.Length)
	if from >= to {
		return Range{}, false
	}
	return Range{from, to - from}, true
}

// Caps are the optional abilities of a device, as bits. Read, Write and Flush
// always work; a Flush on a device without a volatile cache does nothing.
type Caps uint16

// Capabilities.
const (
	// CanFUA: FUA is honoured by itself, without a flush of all.
	CanFUA Caps = 1 << iota
	CanUnmap
	// UnmapZeroes: an unmapped range reads as zeros.
	UnmapZeroes
	// CanWriteZeroes: WriteZeroes carries no payload to the medium. Without it
	// WriteZeroes works by plain writes, and with FastZero it is Unsupported.
	CanWriteZeroes
	CanCompareAndWrite
	CanVerify
	CanCache
	CanBlockStatus
	ReadOnly
	Rotational
	// MultiConn: Flush and FUA cover the completed writes of all connections.
	MultiConn
	// Shared: others change the medium, who do not know of this device. What is
	// several requests here is no single step for them.
	Shared
)

// Has tells whether all of want are among c.
func (c Caps) Has(want Caps) bool { return c&want == want }

// CacheMode tells where a completed write is.
type CacheMode uint8

const (
	// CacheNone: writes are durable when they complete.
	CacheNone CacheMode = iota
	// CacheVolatile: a flush is needed, and a loss of the target loses writes.
	CacheVolatile
	// CacheProtected: there is a cache that outlives the target's failures; a
	// flush is passed on, but its loss is no loss of data.
	CacheProtected
)

// String gives the name as in the configuration.
func (m CacheMode) String() string {
	switch m {
	case CacheNone:
		return "none"
	case CacheVolatile:
		return "volatile"
	case CacheProtected:
		return "protected"
	}
	return "unknown"
}
