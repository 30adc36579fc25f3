// SPDX-License-Identifier: Apache-2.0

package backends

// Check tells whether r can be carried out on a device with this Info, as far
// as the request itself goes: operation, alignment, range, limits, payload
// length, write protection. The result is OK, or what the request completes
// with. Devices call it first in Submit, so all judge alike.
func (i *Info) Check(r *Request) Result {
	if r.Op == Flush {
		return Done()
	}
	if r.Op == 0 || r.Op > BlockStatus {
		return Failed(Unsupported)
	}
	mask := uint64(i.LogicalBlock) - 1
	switch {
	case r.Length == 0 || r.Offset&mask != 0 || r.Length&mask != 0,
		r.Offset > i.Size || r.Length > i.Size-r.Offset:
		return Failed(IllegalRequest)
	case r.Op.Changes() && i.Caps.Has(ReadOnly):
		return Failed(DataProtect)
	}
	limit, need, payload := i.demands(r)
	switch {
	case !i.Caps.Has(need):
		return Failed(Unsupported)
	case limit != 0 && r.Length > limit, payload >= 0 && uint64(payload) != uint64(r.Data.Len()):
		return Failed(IllegalRequest)
	}
	return Done()
}

// demands gives what r.Op asks of the device: the longest range (0: any), the
// capabilities, and the payload that r must have (-1: any).
func (i *Info) demands(r *Request) (limit uint64, need Caps, payload int64) {
	switch r.Op {
	case Read:
		return uint64(i.MaxTransfer), 0, 0
	case Write:
		return uint64(i.MaxTransfer), 0, int64(r.Length)
	case Verify:
		if len(r.Data) == 0 {
			return 0, CanVerify, 0
		}
		return uint64(i.MaxTransfer), CanVerify, int64(r.Length)
	case CompareAndWrite:
		return i.CompareLimit(), CanCompareAndWrite, int64(2 * r.Length)
	case Unmap:
		return i.MaxUnmap, CanUnmap, 0
	case WriteZeroes:
		if r.FastZero {
			need = CanWriteZeroes
		}
		return i.MaxZeroes, need, 0
	case Cache:
		return 0, CanCache, 0
	case BlockStatus:
		return 0, CanBlockStatus, 0
	default: // Flush has no range
		return 0, 0, -1
	}
}

// CompareLimit gives the longest range of a CompareAndWrite; 0: any.
func (i *Info) CompareLimit() uint64 {
	limit := uint64(i.MaxTransfer)
	if i.MaxCompare != 0 && (limit == 0 || uint64(i.MaxCompare) < limit) {
		limit = uint64(i.MaxCompare)
	}
	return limit
}
