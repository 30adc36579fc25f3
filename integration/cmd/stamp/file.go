// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"unsafe"
)

// fileTarget adds Flush to a file.
type fileTarget struct{ *os.File }

func (f fileTarget) Flush() error { return f.Sync() }

// directTarget is a file that was opened with O_DIRECT: every request goes through
// memory that is aligned as the kernel wants it.
type directTarget struct{ fileTarget }

// alignment is that of memory for O_DIRECT: no disk has larger blocks here.
const alignment = 4096

// aligned makes n bytes whose address is a multiple of alignment.
func aligned(n int) []byte {
	b := make([]byte, n+alignment)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (alignment - 1)
	return b[skip : skip+n]
}

// ReadAt reads as io.ReaderAt says.
func (d directTarget) ReadAt(p []byte, off int64) (int, error) {
	b := aligned(len(p))
	n, err := d.fileTarget.ReadAt(b, off)
	copy(p, b[:n])
	return n, err
}

// WriteAt writes as io.WriterAt says.
func (d directTarget) WriteAt(p []byte, off int64) (int, error) {
	b := aligned(len(p))
	copy(b, p)
	return d.fileTarget.WriteAt(b, off)
}
