// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"bytes"
	"slices"
	"sync"
)

// Medium is what the bytes are on. It counts what reached it, so that a test can
// tell that nothing did.
type Medium struct {
	mu     sync.Mutex
	b      []byte
	reads  int
	writes int
}

// NewMedium makes a medium of size bytes, all zero.
func NewMedium(size int) *Medium { return &Medium{b: make([]byte, size)} }

// Grow makes it at least size bytes long.
func (m *Medium) Grow(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := size - len(m.b); n > 0 {
		m.b = append(m.b, make([]byte, n)...)
	}
}

// Bytes gives a copy of n bytes at off.
func (m *Medium) Bytes(off, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.b[off : off+n])
}

// Put changes bytes behind the target's back; it does not count.
func (m *Medium) Put(off int, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.b[off:], p)
}

// Reads counts the commands that read the medium.
func (m *Medium) Reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// Writes counts the commands that changed it.
func (m *Medium) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// read gives n bytes at off; false: they are not there.
func (m *Medium) read(off, n uint64) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holdsLocked(off, n) {
		return nil, false
	}
	m.reads++
	return slices.Clone(m.b[off : off+n]), true
}

func (m *Medium) holdsLocked(off, n uint64) bool {
	return off <= uint64(len(m.b)) && n <= uint64(len(m.b))-off
}

// write puts p at off; false: there is no room.
func (m *Medium) write(off uint64, p []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holdsLocked(off, uint64(len(p))) {
		return false
	}
	m.writes++
	copy(m.b[off:], p)
	return true
}

// zero clears n bytes at off.
func (m *Medium) zero(off, n uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holdsLocked(off, n) {
		return false
	}
	m.writes++
	clear(m.b[off : off+n])
	return true
}

// exchange is COMPARE AND WRITE: equal tells whether old was there, and fits
// whether there is such a place.
func (m *Medium) exchange(off uint64, old, p []byte) (equal, fits bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holdsLocked(off, uint64(len(old))) {
		return false, false
	}
	if !bytes.Equal(m.b[off:off+uint64(len(old))], old) {
		return false, true
	}
	m.writes++
	copy(m.b[off:], p)
	return true, true
}
