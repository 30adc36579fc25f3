// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"errors"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	"pathgate/internal/buffer"
)

const (
	// fileVectors is the most slices that one system call writes.
	fileVectors = 64
	// fileExtents bounds a BlockStatus answer of a fragmented file.
	fileExtents = 1024
	// filePiece is how much is compared or zeroed at once, in bytes.
	filePiece = 1 << 20
)

// fileWorker is one worker's own: it waits for the disk.
type fileWorker struct {
	d     *File
	batch Batch
	iov   [fileVectors]unix.Iovec
	tmp   buffer.Vec
}

// do carries one request out.
func (w *fileWorker) do(r *Request) Result {
	d := w.d
	var err error
	switch r.Op {
	case Read:
		if err = w.read(&r.Data, r.Offset, r.Length); err != nil {
			r.Data.Release()
		}
	case Write:
		return w.store(r.Data, r.Offset, r.FUA)
	case Flush:
		return w.flush()
	case Unmap:
		err = w.unmap(r)
	case WriteZeroes:
		err = w.zero(r)
	case CompareAndWrite:
		return w.compareAndWrite(r)
	case Verify:
		return w.compare(r.Data, r.Offset, r.Length)
	case Cache:
		err = unix.Fadvise(d.fd, int64(r.Offset), int64(r.Length), unix.FADV_WILLNEED)
	case BlockStatus:
		w.status(r)
	}
	if err == nil && r.FUA && r.Op.Changes() {
		return w.flush()
	}
	return fileResult(err)
}

// fileResult gives the class of an error of a system call.
func fileResult(err error) Result {
	c := Medium
	switch {
	case err == nil:
		c = OK
	case fileFull(err):
		c = NoSpace
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EPERM):
		c = DataProtect
	case errors.Is(err, unix.EOPNOTSUPP):
		c = Unsupported
	}
	return Result{Class: c, Sent: SentAnswered}
}

func fileFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// read appends the range to v.
func (w *fileWorker) read(v *buffer.Vec, off, length uint64) error {
	for length > 0 {
		n := int(min(length, buffer.MaxPooled))
		seg := buffer.Get(n)
		if err := w.pread(seg.Bytes()[:n], int64(off)); err != nil {
			seg.Release()
			return err
		}
		v.Append(seg.Slice(0, n))
		off, length = off+uint64(n), length-uint64(n)
	}
	return nil
}

// pread fills p. The file's end is an error too: it was cut below our size.
func (w *fileWorker) pread(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pread(w.d.fd, p, off)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		default:
			p, off = p[n:], off+int64(n)
		}
	}
	return nil
}

// store writes v at off, durably if fua.
//
// A durable write that fails has also used up the kernel's one report of pages
// that it could not write back, so later flushes would wrongly succeed: they
// fail from then on. But not when the file system is simply full, which the
// same write without durability shows.
func (w *fileWorker) store(v buffer.Vec, off uint64, fua bool) Result {
	if !fua {
		return fileResult(w.write(v, off, 0))
	}
	err := w.write(v, off, unix.RWF_DSYNC)
	if err == nil {
		return w.flushed(nil)
	}
	if !fileFull(err) || w.write(v, off, 0) == nil {
		return w.flushed(err)
	}
	return fileResult(err)
}

// write stores v at off. Not one allocation: unix.Pwritev2 makes two.
func (w *fileWorker) write(v buffer.Vec, off uint64, flags uintptr) error {
	skip := 0 // bytes of v[0] that are written
	for {
		for len(v) > 0 && skip >= len(v[0].B) {
			skip -= len(v[0].B)
			v = v[1:]
		}
		if len(v) == 0 {
			return nil
		}
		k := 0
		for i := 0; i < len(v) && k < fileVectors; i++ {
			p := v[i].B
			if i == 0 {
				p = p[skip:]
			}
			if len(p) > 0 {
				w.iov[k].Base = &p[0]
				w.iov[k].SetLen(len(p))
				k++
			}
		}
		// On 64-bit kernels the offset is one argument and its high half none.
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(w.d.fd),
			uintptr(unsafe.Pointer(&w.iov)), uintptr(k), uintptr(off), uintptr(off>>32), flags)
		clear(w.iov[:k])
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case n == 0:
			return io.ErrShortWrite
		default:
			skip += int(n)
			off += uint64(n)
		}
	}
}

// flush makes what was written durable. After one failure all later flushes
// fail: the kernel has dropped pages that it could not write and would say no
// more about them. Only opening the file anew ends that.
func (w *fileWorker) flush() Result {
	if res := w.flushed(nil); !res.OK() {
		return res
	}
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fdatasync(w.d.fd)
	}
	return w.flushed(err)
}

// flushed records that a flush ended with err, and gives its result.
func (w *fileWorker) flushed(err error) Result {
	d := w.d
	d.mu.Lock()
	if err != nil && d.lost == nil {
		d.lost = err
	}
	err = d.lost
	d.mu.Unlock()
	return fileResult(err)
}

func (w *fileWorker) fallocate(mode uint32, r *Request) error {
	return unix.Fallocate(w.d.fd, mode|unix.FALLOC_FL_KEEP_SIZE, int64(r.Offset), int64(r.Length))
}

// unmap gives the range back. On a block device a discard promises nothing of
// what is read later; on a file it is a hole.
func (w *fileWorker) unmap(r *Request) error {
	if !w.d.block {
		return w.fallocate(unix.FALLOC_FL_PUNCH_HOLE, r)
	}
	arg := [2]uint64{r.Offset, r.Length}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.d.fd), unix.BLKDISCARD, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 && errno != unix.EOPNOTSUPP && errno != unix.EINVAL { // a hint: it need not be possible
		return errno
	}
	return nil
}

// zero makes the range read as zeros by the cheapest way that there is. A hole
// reads as zeros on block devices too (blkdev_fallocate); their ZERO_RANGE may
// write them one by one.
func (w *fileWorker) zero(r *Request) error {
	err := error(unix.EOPNOTSUPP)
	if !r.NoUnmap {
		err = w.fallocate(unix.FALLOC_FL_PUNCH_HOLE, r)
	}
	if err != nil && !(w.d.block && r.FastZero) {
		err = w.fallocate(unix.FALLOC_FL_ZERO_RANGE, r)
	}
	if w.d.block && errors.Is(err, unix.EINVAL) {
		err = unix.EOPNOTSUPP // not in whole sectors
	}
	if !errors.Is(err, unix.EOPNOTSUPP) || r.FastZero {
		return err
	}
	w.tmp.AppendZeros(int(min(r.Length, filePiece)))
	defer w.tmp.Release()
	for done := uint64(0); done < r.Length; done += filePiece {
		v := w.tmp
		if rest := r.Length - done; rest < filePiece {
			v = nil
			v.AppendZeros(int(rest))
		}
		if err := w.write(v, r.Offset+done, 0); err != nil {
			return err
		}
	}
	return nil
}

// compare reads the range and, when want is not empty, tells where it first
// differs from the beginning of want.
func (w *fileWorker) compare(want buffer.Vec, off, length uint64) Result {
	var part buffer.Vec
	for done := uint64(0); done < length; {
		n := min(length-done, filePiece)
		seg := buffer.Get(int(n))
		have := seg.Bytes()[:n]
		res := fileResult(w.pread(have, int64(off+done)))
		if res.OK() && len(want) > 0 {
			part.AppendRange(want, int(done), int(n))
			res = firstDifference(have, part.Bytes())
			res.Sense.Information += done
			part.Release()
		}
		seg.Release()
		if !res.OK() {
			return res
		}
		done += n
	}
	return Done()
}

// compareAndWrite is one step for other changes, since these wait for it.
func (w *fileWorker) compareAndWrite(r *Request) Result {
	if res := w.compare(r.Data, r.Offset, r.Length); !res.OK() {
		return res
	}
	w.tmp.AppendRange(r.Data, int(r.Length), int(r.Length))
	defer w.tmp.Release()
	return w.store(w.tmp, r.Offset, r.FUA)
}

// status tells holes from data; a file system that cannot says all is data. The
// descriptor's offset, which other workers seek too, is of no use to anybody.
func (w *fileWorker) status(r *Request) {
	hole := Extent{Hole: true, Zero: true}
	pos, end := int64(r.Offset), int64(r.Offset+r.Length)
	for pos < end && len(r.Extents) < fileExtents {
		data, err := unix.Seek(w.d.fd, pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			data, err = end, nil
		}
		if data = min(data, end); err == nil && data > pos {
			hole.Length = uint64(data - pos)
			r.Extents = appendExtent(r.Extents, hole)
			pos = data
			continue
		}
		next := end
		if err == nil {
			if at, err := unix.Seek(w.d.fd, pos, unix.SEEK_HOLE); err == nil && at > pos {
				next = min(at, end)
			}
		}
		r.Extents = appendExtent(r.Extents, Extent{Length: uint64(next - pos)})
		pos = next
	}
}
