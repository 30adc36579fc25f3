// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFileSize is more than any file can have.
const maxFileSize = 1 << 62

// FileOptions say how a file becomes a disk.
type FileOptions struct {
	// Size in bytes; 0: that of the file. A regular file that does not exist,
	// or is shorter, is made sparse up to Size; a longer one, or a block
	// device, is used up to Size. A multiple of BlockSize.
	Size uint64
	// Grows: a regular file that is longer than Size is used whole, since it has grown.
	Grows bool
	// BlockSize is the logical block, 512 or 4096. 0: 512, or the sector size
	// of a block device.
	BlockSize uint32
	// ReadOnly opens the file for reading; it must exist and have Size.
	ReadOnly bool
}

// OpenFile opens or makes the file at path. A writable file is locked against
// every other opener of this kind (flock; a block device by O_EXCL, which
// mounted ones refuse), so that one disk has one owner. Errors name the path.
func OpenFile(path string, o FileOptions) (*File, error) {
	f, err := openDiskFile(path, o)
	if err != nil {
		return nil, err
	}
	d := &File{
		f: f, fd: int(f.Fd()), pool: NewPool(memCommands, memBytes), current: new(cohort),
		all: opRing{link: linkAll}, changes: opRing{link: linkRange}, reads: opRing{link: linkRange},
	}
	d.wake.L = &d.mu
	if err := d.measure(path, o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.measureQuickness()
	for range fileWorkers {
		d.workers.Go(d.work)
	}
	return d, nil
}

func openDiskFile(path string, o FileOptions) (*os.File, error) {
	block := false
	switch st, err := os.Stat(path); { // before opening: that of a FIFO waits
	case err == nil:
		block = st.Mode().Type() == os.ModeDevice
		if !block && !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is neither a regular file nor a block device", path)
		}
	case o.ReadOnly || o.Size == 0 || !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("open disk file: %w", err)
	}
	flags, lock := os.O_RDWR, unix.LOCK_EX
	switch {
	case o.ReadOnly:
		flags, lock = os.O_RDONLY, unix.LOCK_SH
	case block:
		flags |= unix.O_EXCL
	default:
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open disk file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), lock|unix.LOCK_NB); err != nil && !errors.Is(err, unix.ENOLCK) {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("in use by another disk or process")
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// measure finds out size and abilities.
func (d *File) measure(path string, o FileOptions) error {
	st, err := d.f.Stat()
	if err != nil {
		return fmt.Errorf("read size of %s: %w", path, err)
	}
	size := st.Size()
	d.info = Info{
		LogicalBlock: 512, PhysicalBlock: 4096, Available: true, MaxTransfer: 4 << 20, WriteCache: CacheVolatile,
		Caps: CanFUA | CanWriteZeroes | CanCompareAndWrite | CanVerify | CanCache | CanBlockStatus | MultiConn,
	}
	if d.block = !st.Mode().IsRegular(); d.block {
		if size, err = d.f.Seek(0, io.SeekEnd); err != nil {
			return fmt.Errorf("read size of %s: %w", path, err)
		}
		d.measureBlockDevice()
	}
	switch o.BlockSize {
	case 0:
	case 512, 4096:
		d.info.LogicalBlock = o.BlockSize
	default:
		return fmt.Errorf("file %s: block size %d is neither 512 nor 4096", path, o.BlockSize)
	}
	d.info.PhysicalBlock = max(d.info.PhysicalBlock, d.info.LogicalBlock)
	d.info.MaxCompare = d.info.LogicalBlock // a read may see a part of more
	unit := uint64(d.info.LogicalBlock)
	if whole := uint64(size) / unit * unit; o.Size == 0 || o.Grows && !d.block {
		o.Size = max(o.Size, whole)
	}
	switch {
	case o.Size == 0:
		return fmt.Errorf("%s is empty: give it a size", path)
	case o.Size%unit != 0:
		return fmt.Errorf("%s: size %d is not a multiple of the block size %d", path, o.Size, unit)
	case o.Size > maxFileSize:
		return fmt.Errorf("%s: size %d is more than a file can have", path, o.Size)
	case o.Size > uint64(size) && (o.ReadOnly || d.block):
		return fmt.Errorf("%s has %d bytes, the disk needs %d", path, size, o.Size)
	case o.Size > uint64(size):
		if err := d.f.Truncate(int64(o.Size)); err != nil {
			return fmt.Errorf("extend %s to %d bytes: %w", path, o.Size, err)
		}
		size = int64(o.Size)
	}
	d.info.Size = o.Size
	switch {
	case o.ReadOnly:
		d.info.Caps |= ReadOnly
	case !d.block && d.canPunch(size):
		d.info.Caps |= CanUnmap | UnmapZeroes
	}
	return nil
}

// canPunch tells whether the file system makes holes, by making one beyond the
// end, which changes nothing.
func (d *File) canPunch(size int64) bool {
	const page = 4096
	beyond := (size + page - 1) / page * page
	return unix.Fallocate(d.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, beyond, page) == nil
}

// measureBlockDevice takes from the kernel what it knows of the device.
func (d *File) measureBlockDevice() {
	if n, err := unix.IoctlGetInt(d.fd, unix.BLKSSZGET); err == nil && n > 512 {
		d.info.LogicalBlock = uint32(n)
	}
	if n, err := unix.IoctlGetUint32(d.fd, unix.BLKPBSZGET); err == nil && n >= d.info.LogicalBlock {
		d.info.PhysicalBlock = n
	}
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil {
		return
	}
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if readSysNumber(dir, "queue/rotational") == 1 {
		d.info.Caps |= Rotational
	}
	if readSysNumber(dir, "queue/discard_max_bytes") > 0 {
		d.info.Caps |= CanUnmap
	}
}

// readSysNumber reads a number of a block device, or, for a partition, that of
// its disk; 0 when there is none.
func readSysNumber(dir, name string) uint64 {
	p, err := os.ReadFile(dir + name)
	if err != nil {
		if p, err = os.ReadFile(dir + "../" + name); err != nil {
			return 0
		}
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(p)), 10, 64)
	return n
}
