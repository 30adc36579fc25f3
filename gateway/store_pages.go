// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt's file, as its package internal/common lays it out, in the host's byte order.
// A page begins with a header of 16 bytes: id, flags, count, overflow. On pages 0 and 1
// the meta fields follow, closed by an FNV-1a checksum; on the freelist page, ids; on
// the others, elements of 16 bytes and, at a distance from its element, each one's key
// and value. A leaf's element is flags, distance, key length, value length; a branch's
// is distance, key length, page. A bucket is a leaf's value: root page and sequence, and
// with root page 0 the page itself, which has id 0 and goes to the end of the value.
const (
	boltPageHeader = 16
	boltElement    = 16
	boltBucket     = 16

	boltMetaLen    = 64
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltVersionAt  = 4
	boltPageSizeAt = 8
	boltRootAt     = 16
	boltFreelistAt = 32
	boltHighAt     = 40 // pages in use
	boltTxAt       = 48
	boltSumAt      = 56

	boltManyFree = 0xFFFF // this count: the first id is the count
)

// Flags of a page, of which it has one, and of a leaf's element.
const (
	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltMeta     = 0x04
	boltFreelist = 0x10

	boltIsBucket = 0x01
)

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrStoreCorrupt, fmt.Sprintf(format, a...))
}

// checkPages checks a database of size bytes from its headers to the place of every key
// and value, so that bbolt, which believes all of these, reads nothing outside of them.
// What the keys and values say, and their order, is not looked at.
func checkPages(f io.ReaderAt, size int64) error {
	h, err := checkHeaders(f)
	if err != nil {
		return err
	}
	if h.high > uint64(size)/storePageSize {
		return corrupt("cut to %d of at least %d bytes", size, h.high*storePageSize)
	}
	w := &pageWalk{f: f, seen: make([]bool, h.high)}
	if err := w.free(h.freelist); err != nil {
		return err
	}
	if err := w.tree(h.root, w.buckets); err != nil {
		return err
	}
	for id := uint64(2); id < h.high; id++ {
		if !w.seen[id] {
			return corrupt("page %d is neither used nor free", id)
		}
	}
	return nil
}

// fileHeader is what the newer of the two meta pages says.
type fileHeader struct{ root, freelist, high, tx uint64 }

// checkHeaders refuses one wrong header of two, where bbolt would quietly go back one
// change: a header lies within one disk sector, so no crash tears it, and the change
// that is lost may be a ghost.
func checkHeaders(f io.ReaderAt) (newest fileHeader, err error) {
	ne := binary.NativeEndian
	for id := range uint64(2) {
		b, err := readPage(f, id, boltPageHeader+boltMetaLen)
		if err != nil {
			return newest, err
		}
		p, m := decodePageHeader(b), b[boltPageHeader:]
		sum := fnv.New64a()
		_, _ = sum.Write(m[:boltSumAt])
		if p.id != id || p.flags != boltMeta || ne.Uint32(m) != boltMagic || ne.Uint32(m[boltVersionAt:]) != boltVersion ||
			ne.Uint32(m[boltPageSizeAt:]) != storePageSize || ne.Uint64(m[boltSumAt:]) != sum.Sum64() {
			return newest, corrupt("header %d is not valid", id)
		}
		if tx := ne.Uint64(m[boltTxAt:]); id == 0 || tx > newest.tx {
			newest = fileHeader{ne.Uint64(m[boltRootAt:]), ne.Uint64(m[boltFreelistAt:]), ne.Uint64(m[boltHighAt:]), tx}
		}
	}
	return newest, nil
}

func readPage(f io.ReaderAt, id uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := f.ReadAt(b, int64(id)*storePageSize)
	if errors.Is(err, io.EOF) {
		err = corrupt("cut in page %d", id)
	}
	return b, err
}

type pageHeader struct {
	id           uint64
	flags, count uint16
	overflow     uint32 // pages that follow and belong to this one
}

// decodePageHeader needs boltPageHeader bytes.
func decodePageHeader(b []byte) pageHeader {
	ne := binary.NativeEndian
	return pageHeader{ne.Uint64(b), ne.Uint16(b[8:]), ne.Uint16(b[10:]), ne.Uint32(b[12:])}
}

// pageWalk comes to each page once, so no pages form a circle.
type pageWalk struct {
	f    io.ReaderAt
	seen []bool // by page, all that are in use
}

func (w *pageWalk) see(id uint64) error {
	if id < 2 || id >= uint64(len(w.seen)) {
		return corrupt("page %d of %d is not there", id, len(w.seen))
	}
	if w.seen[id] {
		return corrupt("page %d is used twice", id)
	}
	w.seen[id] = true
	return nil
}

// load reads a page with those that belong to it.
func (w *pageWalk) load(id uint64) (p pageHeader, b []byte, err error) {
	if err := w.see(id); err != nil {
		return p, nil, err
	}
	if b, err = readPage(w.f, id, boltPageHeader); err != nil {
		return p, nil, err
	}
	p = decodePageHeader(b)
	if p.id != id {
		return p, nil, corrupt("page %d has the number %d", id, p.id)
	}
	if uint64(p.overflow) >= uint64(len(w.seen))-id {
		return p, nil, corrupt("page %d runs beyond the end", id)
	}
	for i := range uint64(p.overflow) {
		if err := w.see(id + 1 + i); err != nil {
			return p, nil, err
		}
	}
	b, err = readPage(w.f, id, (1+int(p.overflow))*storePageSize)
	return p, b, err
}

// free checks the freelist.
func (w *pageWalk) free(id uint64) error {
	p, b, err := w.load(id)
	if err != nil {
		return err
	}
	if p.flags != boltFreelist {
		return corrupt("page %d is not the list of free pages", id)
	}
	ids := b[boltPageHeader:]
	count := uint64(p.count)
	if count == boltManyFree {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt("page %d lists %d free pages", id, count)
	}
	for i := range count {
		if err := w.see(binary.NativeEndian.Uint64(ids[i*8:])); err != nil {
			return err
		}
	}
	return nil
}

// tree checks a page and all below it, and calls leaf for the elements of its leaves.
func (w *pageWalk) tree(id uint64, leaf func(id uint64, elems []pageElement) error) error {
	p, b, err := w.load(id)
	if err != nil {
		return err
	}
	if p.flags != boltLeaf && p.flags != boltBranch {
		return corrupt("page %d is of the kind %#x", id, p.flags)
	}
	elems, ok := pageElements(p, b)
	if !ok || p.flags == boltBranch && len(elems) == 0 {
		return corrupt("page %d has elements outside of it", id)
	}
	if p.flags == boltLeaf {
		return leaf(id, elems)
	}
	for _, e := range elems {
		if err := w.tree(e.page, leaf); err != nil {
			return err
		}
	}
	return nil
}

// pageElement is of a leaf, without its key, or of a branch, which has page only.
type pageElement struct {
	page  uint64
	flags uint32
	value []byte
}

// pageElements reads those of page b; ok is false when not all of them lie within it.
func pageElements(p pageHeader, b []byte) (elems []pageElement, ok bool) {
	ne := binary.NativeEndian
	data := boltPageHeader + boltElement*uint64(p.count)
	if data > uint64(len(b)) {
		return nil, false
	}
	for at := uint64(boltPageHeader); at < data; at += boltElement {
		var el pageElement
		var distance, key, value uint32
		if e := b[at:]; p.flags == boltBranch {
			distance, key, el.page = ne.Uint32(e), ne.Uint32(e[4:]), ne.Uint64(e[8:])
		} else {
			el.flags, distance, key, value = ne.Uint32(e), ne.Uint32(e[4:]), ne.Uint32(e[8:]), ne.Uint32(e[12:])
		}
		start := at + uint64(distance)
		end := start + uint64(key) + uint64(value)
		if key == 0 || start < data || end > uint64(len(b)) {
			return nil, false
		}
		el.value = b[end-uint64(value) : end]
		elems = append(elems, el)
	}
	return elems, true
}

// buckets checks a leaf of the root, which has buckets only.
func (w *pageWalk) buckets(id uint64, elems []pageElement) error {
	for i, e := range elems {
		if e.flags != boltIsBucket || len(e.value) < boltBucket {
			return corrupt("element %d of page %d is not a bucket", i, id)
		}
		root, inline := binary.NativeEndian.Uint64(e.value), e.value[boltBucket:]
		if root != 0 {
			if len(inline) != 0 {
				return corrupt("bucket %d of page %d has two pages", i, id)
			}
			if err := w.tree(root, records); err != nil {
				return err
			}
			continue
		}
		if len(inline) < boltPageHeader {
			return corrupt("bucket %d of page %d has no page", i, id)
		}
		p := decodePageHeader(inline)
		if p.id != 0 || p.flags != boltLeaf || p.overflow != 0 {
			return corrupt("bucket %d of page %d has a wrong header", i, id)
		}
		in, ok := pageElements(p, inline)
		if !ok {
			return corrupt("bucket %d of page %d has elements outside of it", i, id)
		}
		if err := records(id, in); err != nil {
			return err
		}
	}
	return nil
}

// records checks a leaf of a bucket, which has no buckets in it.
func records(id uint64, elems []pageElement) error {
	for i, e := range elems {
		if e.flags != 0 {
			return corrupt("element %d of page %d is not a record", i, id)
		}
	}
	return nil
}
