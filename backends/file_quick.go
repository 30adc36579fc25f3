// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"pathgate/internal/buffer"
)

// quickness is what of a file can be done without waiting for a disk. Such requests
// are carried out inside Submit: handing a small one to a worker, and its answer to
// the network alone, costs more than the request itself.
type quickness uint8

const (
	// quickNothing: the workers do all.
	quickNothing quickness = iota
	// quickCached: reads of what is in the page cache (RWF_NOWAIT).
	quickCached
	// quickMemory: reads and writes. The file is in tmpfs, which has no disk, and so no
	// RWF_NOWAIT.
	quickMemory
)

const (
	// quickBytes is the longest request that is carried out inside Submit, about 10 us
	// of copying; with a longer one a worker's hand-over counts for little, and it
	// copies while the submitter receives the next.
	quickBytes = 64 << 10
	// quickTurn is the most that one Submit carries out itself, in bytes.
	quickTurn = 1 << 20
)

// measureQuickness asks the file system, by reading the first byte.
func (d *File) measureQuickness() {
	var one [1]byte
	switch _, errno := preadQuick(d.fd, one[:], 0, unix.RWF_NOWAIT); {
	case errno == 0, errno == unix.EAGAIN:
		d.quick = quickCached
	default:
		var fs unix.Statfs_t
		if unix.Fstatfs(d.fd, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
			d.quick = quickMemory
		}
	}
}

// quickly tells whether r may be carried out inside Submit, after done bytes.
func (d *File) quickly(r *Request, done uint64) bool {
	if r.Length == 0 || r.Length > quickBytes || done+r.Length > quickTurn {
		return false
	}
	switch d.quick {
	case quickCached:
		return r.Op == Read
	case quickMemory:
		return r.Op == Read || r.Op == Write && !r.FUA && len(r.Data) <= quickVectors
	default:
		return false
	}
}

// submitQuickly carries out what is in the list: operations that have started and
// wait for nothing. What cannot be done at once, or not without an error, is left to
// the workers.
func (d *File) submitQuickly(b *Batch, list *fileOp) {
	if list == nil {
		return
	}
	for op := list; op != nil; op = op.next {
		op.did = d.doQuickly(op.r)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for list != nil {
		op := list
		list, op.next = op.next, nil
		if op.did {
			d.endLocked(b, op, Done())
			continue
		}
		op.started = false
		d.readyLocked(op)
	}
}

// doQuickly carries r out without waiting; false when that cannot be.
func (d *File) doQuickly(r *Request) bool {
	if r.Op == Write {
		return d.writeQuickly(r)
	}
	flags := 0
	if d.quick == quickCached {
		flags = unix.RWF_NOWAIT
	}
	seg := buffer.Get(int(r.Length))
	if n, errno := preadQuick(d.fd, seg.Bytes()[:r.Length], r.Offset, flags); errno != 0 || n != int(r.Length) {
		seg.Release()
		return false
	}
	r.Data.Append(seg.Slice(0, int(r.Length)))
	return true
}

// quickVectors is the most slices that a quick write has.
const quickVectors = 16

func (d *File) writeQuickly(r *Request) bool {
	var iov [quickVectors]syscall.Iovec
	k := 0
	for i := range r.Data {
		if p := r.Data[i].B; len(p) > 0 {
			iov[k].Base = &p[0]
			iov[k].SetLen(len(p))
			k++
		}
	}
	n, errno := quickCall(unix.SYS_PWRITEV2, d.fd, &iov[0], k, r.Offset, 0)
	return errno == 0 && uint64(n) == r.Length
}

func preadQuick(fd int, p []byte, off uint64, flags int) (int, syscall.Errno) {
	iov := syscall.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	return quickCall(unix.SYS_PREADV2, fd, &iov, 1, off, flags)
}

// quickCall makes a call that does not wait, so the Go scheduler is not told of it:
// that would cost a wake-up of the runtime's monitor whenever the process was idle.
func quickCall(trap uintptr, fd int, iov *syscall.Iovec, n int, off uint64, flags int) (int, syscall.Errno) {
	// On 64-bit kernels the offset is one argument and its high half none.
	k, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(iov)), uintptr(n),
		uintptr(off), uintptr(off>>32), uintptr(flags))
	return int(k), errno
}
