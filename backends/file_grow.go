// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// What Grow refuses; its other errors are those of the file system.
var (
	// ErrShrink: the disk is longer already.
	ErrShrink = errors.New("a disk never shrinks")
	// ErrFixedSize: a block device, or a file that is only read.
	ErrFixedSize = errors.New("the size cannot be changed")
	// ErrNoSpace: there is no room for what the disk would grow by.
	ErrNoSpace = errors.New("not enough space in the file system")
)

// CanGrow tells whether Grow can succeed.
func (d *File) CanGrow() bool { return !d.block && !d.Info().Caps.Has(ReadOnly) }

// Grow makes the disk size bytes long, a multiple of its logical block, and returns
// when that is durable and Info and the watchers have it. What is new takes no room
// and reads as zeros. Unless thin, the file system has to have as much room free as
// the file grows by. To the size that it has it grows any number of times. Requests
// go on meanwhile.
func (d *File) Grow(size uint64, thin bool) error {
	d.growing.Lock() // over the system calls: one growth after the other
	change, err := d.grow(size, thin)
	d.growing.Unlock()
	if change {
		d.watchers.Tell(SizeChanged)
	}
	return err
}

func (d *File) grow(size uint64, thin bool) (change bool, err error) {
	d.mu.Lock()
	info, closed := d.info, d.closed
	if !closed {
		d.workers.Add(1) // Close waits
		defer d.workers.Done()
	}
	d.mu.Unlock()
	switch {
	case closed:
		return false, os.ErrClosed
	case size < info.Size:
		return false, ErrShrink
	case size%uint64(info.LogicalBlock) != 0:
		return false, fmt.Errorf("size %d is not a multiple of the block size %d", size, info.LogicalBlock)
	case size == info.Size:
		return false, nil
	case d.block, info.Caps.Has(ReadOnly):
		return false, ErrFixedSize
	case size > maxFileSize:
		return false, ErrNoSpace
	}
	if err = d.lostError(); err == nil {
		if err = d.extend(size, thin); err != nil {
			return false, err
		}
		if w := (fileWorker{d: d}); !w.flush().OK() {
			err = d.lostError()
		}
	}
	if err != nil {
		return false, fmt.Errorf("what is written does not become durable: %w", err)
	}
	d.mu.Lock()
	d.info.Size = size
	d.mu.Unlock()
	return true, nil
}

// extend makes the file at least size bytes long.
func (d *File) extend(size uint64, thin bool) error {
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	has := uint64(st.Size())
	if has >= size { // somebody else has extended it
		return nil
	}
	if !thin && !d.roomFor(size-has) {
		return ErrNoSpace
	}
	err = d.f.Truncate(int64(size))
	if fileFull(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// roomFor tells whether the file system has n bytes free for its users, as far as it
// tells: a tmpfs without a limit does not.
func (d *File) roomFor(n uint64) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(d.fd, &fs) != nil || fs.Blocks == 0 || fs.Bsize <= 0 {
		return true
	}
	return n/uint64(fs.Bsize) < fs.Bavail
}

func (d *File) lostError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}
