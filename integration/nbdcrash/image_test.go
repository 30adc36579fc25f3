// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pathgate/backends"
)

// page is what a disk writes wholly or not at all: its physical block.
const page = 4096

// image is what a crash has left.
type image struct {
	what string
	// flushed and ended are lengths of the record: up to the last flush that was
	// answered, and up to the crash.
	flushed, ended int
	disk           []byte
	wrong          bool // on purpose
}

// prefixes makes an image of each prefix that ends at a flush, and after each flush from
// begin on some of what a crash may leave instead.
func prefixes(l record, size, begin, some int, seed uint64, add func(image)) {
	ends := l.flushes()
	rnd := rand.New(rand.NewPCG(seed, 6))
	disk, at := make([]byte, size), 0
	for i, end := range ends {
		for ; at < end; at++ {
			l[at].apply(disk)
		}
		if end < begin {
			continue
		}
		add(image{what: fmt.Sprintf("prefix of %d", end), flushed: end, ended: end, disk: slices.Clone(disk)})
		next := len(l)
		if i+1 < len(ends) {
			next = ends[i+1] - 1 // the flush itself would be one more answer
		}
		for n := range some {
			crash := end + rnd.IntN(next-end+1)
			add(image{
				what:    fmt.Sprintf("crash %d at %d, after the flush at %d", n, crash, end),
				flushed: end, ended: crash, disk: l.crash(size, end, crash, rnd),
			})
		}
	}
}

// crash gives what is left of the first ended entries, when the last flush answered is
// the one that ends the first flushed: what no flush covers and what was no FUA write may
// be lost, page by page.
func (l record) crash(size, flushed, ended int, rnd *rand.Rand) []byte {
	disk := make([]byte, size)
	safe := l.durable(flushed)
	for i := range l[:ended] {
		e := &l[i]
		if i < safe || e.fua {
			e.apply(disk)
			continue
		}
		for from := uint64(0); from < e.length; {
			to := min(e.length, (e.off+from)/page*page+page-e.off)
			if rnd.IntN(2) == 0 {
				e.applyPart(disk, from, to)
			}
			from = to
		}
	}
	return disk
}

// without gives the prefix of length n with some entries left out.
func (l record) without(size, n int, leave func(i int) bool) []byte {
	disk := make([]byte, size)
	for i := range l[:n] {
		if !leave(i) {
			l[i].apply(disk)
		}
	}
	return disk
}

// count tells how many entries of each kind there are.
func (l record) count() (writes, zeroes, flushes, fua int) {
	for i := range l {
		switch l[i].op {
		case backends.Flush:
			flushes++
		case backends.Unmap, backends.WriteZeroes:
			zeroes++
		default:
			writes++
		}
		if l[i].fua {
			fua++
		}
	}
	return writes, zeroes, flushes, fua
}

// shelf is a file of many images, one after the other.
type shelf struct {
	f    *os.File
	size int
	list []image
}

// put adds an image. Its content goes to the file, which has holes for zeros.
func (s *shelf) put(t *testing.T, m image) {
	t.Helper()
	zeros := make([]byte, page)
	at := int64(len(s.list)) * int64(s.size)
	for off := 0; off < s.size; {
		end := off
		for end < s.size && !bytes.Equal(m.disk[end:end+page], zeros) {
			end += page
		}
		if end > off {
			if _, err := s.f.WriteAt(m.disk[off:end], at+int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		off = end + page
	}
	if err := s.f.Truncate(at + int64(s.size)); err != nil {
		t.Fatal(err)
	}
	m.disk = nil
	s.list = append(s.list, m)
}
