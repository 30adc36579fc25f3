// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// layout is where a good file has what bbolt believes without a check: pages by number,
// and offsets in the file.
type layout struct {
	good             []byte
	root, freelist   int
	branches, leaves []int // the root is among them
	free             []int
	inline           []int // values of buckets with the page in them
	remote           []int // values of buckets with a page of their own
}

func (l *layout) u16(at int) int { return int(binary.NativeEndian.Uint16(l.good[at:])) }
func (l *layout) u32(at int) int { return int(binary.NativeEndian.Uint32(l.good[at:])) }
func (l *layout) u64(at int) int { return int(binary.NativeEndian.Uint64(l.good[at:])) }

// newLayout fills a store, with pages of every kind in it, and closes it.
func newLayout(t *testing.T) (l *layout, content string) {
	t.Helper()
	dir := t.TempDir()
	path, content := filled(t, dir)
	l = &layout{good: must[[]byte](t)(os.ReadFile(path))}
	s := openStore(t, dir)
	kinds := map[string][]int{}
	if err := s.db.View(func(tx *bbolt.Tx) error {
		for id := 0; id < int(tx.Size()/storePageSize); id++ {
			p, err := tx.Page(id)
			if err != nil {
				return err
			}
			kinds[p.Type] = append(kinds[p.Type], id)
			if p.Type != "free" {
				id += p.OverflowCount
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l.branches, l.leaves, l.free, l.freelist = kinds["branch"], kinds["leaf"], kinds["free"], kinds["freelist"][0]
	newer := 0
	if l.u64(16+48) < l.u64(storePageSize+16+48) {
		newer = storePageSize
	}
	l.root = l.u64(newer + 16 + 16)
	copied := false
	for at := range l.elements(l.root * storePageSize) {
		value := at + l.u32(at+4) + l.u32(at+8)
		if l.u64(value) != 0 {
			l.remote = append(l.remote, value)
			continue
		}
		l.inline = append(l.inline, value)
		copied = copied || value%8 != 0
	}
	if !copied || len(l.remote) == 0 || len(l.branches) == 0 || len(l.free) == 0 {
		t.Fatalf("no page of some kind: %+v, an inline bucket that bbolt copies %v", kinds, copied)
	}
	return l, content
}

// elements gives the places of those of the page at an offset.
func (l *layout) elements(page int) func(yield func(at int) bool) {
	return func(yield func(at int) bool) {
		for i := range l.u16(page + 10) {
			if !yield(page + 16 + 16*i) {
				return
			}
		}
	}
}

// structure gives the places of all bytes of headers, and of elements: each one of the
// root and of inline buckets, the first and the last one of other pages.
func (l *layout) structure() (places []int) {
	add := func(at, n int) {
		for i := range n {
			places = append(places, at+i)
		}
	}
	add(0, 80)
	add(storePageSize, 80)
	add(l.freelist*storePageSize, 16+8*l.u16(l.freelist*storePageSize+10))
	for _, id := range append(l.branches, l.leaves...) {
		page := id * storePageSize
		add(page, 16)
		last := page + 16*l.u16(page+10)
		for at := range l.elements(page) {
			if id == l.root || at == page+16 || at == last {
				add(at, 16)
			}
		}
	}
	for _, value := range l.remote {
		add(value, 8) // without the sequence, which nothing uses
	}
	for _, value := range l.inline {
		add(value, 8)
		add(value+16, 16)
		for at := range l.elements(value + 16) {
			add(at, 16)
		}
	}
	return places
}

// tryDamaged opens a damaged store. It must be refused and left as it is or, unless
// mustFail, be whole and take changes.
func tryDamaged(t *testing.T, dir string, b []byte, content, what string, mustFail bool) (found bool) {
	t.Helper()
	path := filepath.Join(dir, storeFile)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(dir)
	if err != nil {
		if !errors.Is(err, ErrStoreCorrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %v with the file's name", what, err, ErrStoreCorrupt)
		}
		if !bytes.Equal(b, must[[]byte](t)(os.ReadFile(path))) {
			t.Errorf("%s: the damaged file was changed", what)
		}
		return true
	}
	if mustFail {
		t.Errorf("%s: not found", what)
	}
	if got := dump(s); got != content {
		t.Errorf("%s: opened with other content: %s", what, cmp.Diff(content, got))
	}
	if err := s.SetAlias("c", "naa.1"); err != nil {
		t.Errorf("%s: not found, and then %v", what, err)
	}
	s.Close()
	if s, err = OpenStore(dir); err != nil {
		t.Errorf("%s: not found, and after a change %v", what, err)
		return false
	}
	s.Close()
	return false
}

// TestStoreFlippedStructure flips bytes of what says where keys and values are.
func TestStoreFlippedStructure(t *testing.T) {
	l, content := newLayout(t)
	dir := t.TempDir()
	tried, found := 0, 0
	for _, at := range l.structure() {
		for _, mask := range []byte{0x01, 0x80} {
			b := bytes.Clone(l.good)
			b[at] ^= mask
			tried++
			if tryDamaged(t, dir, b, content, fmt.Sprintf("byte %d ^ %#x", at, mask), false) {
				found++
			}
		}
	}
	if found < tried*9/10 {
		t.Errorf("%d of %d were found", found, tried)
	}
	t.Logf("%d of %d were found, the rest changed nothing", found, tried)
}

// TestStorePagesAstray has wrong numbers that no check of bbolt looks at before it
// follows them, some of them for ever.
func TestStorePagesAstray(t *testing.T) {
	l, content := newLayout(t)
	branch, leaf, list := l.branches[0]*storePageSize, l.leaves[0]*storePageSize, l.freelist*storePageSize
	root := l.root * storePageSize
	ne := binary.NativeEndian
	tests := map[string]func(b []byte){
		"branch that is its own child":   func(b []byte) { ne.PutUint64(b[branch+16+8:], uint64(l.branches[0])) },
		"branch that is above itself":    func(b []byte) { ne.PutUint64(b[branch+16+8:], uint64(l.root)) },
		"branch with one child twice":    func(b []byte) { copy(b[branch+16+8:branch+32], b[branch+32+8:]) },
		"branch to a free page":          func(b []byte) { ne.PutUint64(b[branch+16+8:], uint64(l.free[0])) },
		"branch to a header":             func(b []byte) { ne.PutUint64(b[branch+16+8:], 1) },
		"branch beyond the end":          func(b []byte) { ne.PutUint64(b[branch+16+8:], 1<<40) },
		"branch without children":        func(b []byte) { ne.PutUint16(b[branch+10:], 0) },
		"branch with 65535 children":     func(b []byte) { ne.PutUint16(b[branch+10:], 0xffff) },
		"branch as a leaf":               func(b []byte) { ne.PutUint16(b[branch+8:], 2) },
		"leaf as a branch":               func(b []byte) { ne.PutUint16(b[leaf+8:], 1) },
		"leaf with 65535 elements":       func(b []byte) { ne.PutUint16(b[leaf+10:], 0xffff) },
		"leaf that goes on for ever":     func(b []byte) { ne.PutUint32(b[leaf+12:], 0xffffffff) },
		"key without end":                func(b []byte) { ne.PutUint32(b[leaf+16+8:], 0xffffffff) },
		"key without a byte":             func(b []byte) { ne.PutUint32(b[leaf+16+8:], 0) },
		"value without end":              func(b []byte) { ne.PutUint32(b[leaf+16+12:], 0xffffffff) },
		"key far away":                   func(b []byte) { ne.PutUint32(b[leaf+16+4:], 0x7fffffff) },
		"root without elements":          func(b []byte) { ne.PutUint16(b[root+10:], 0) },
		"bucket of one byte":             func(b []byte) { ne.PutUint32(b[root+16+12:], 1) },
		"bucket with its parent as page": func(b []byte) { ne.PutUint64(b[l.remote[0]:], uint64(l.root)) },
		"bucket without a page":          func(b []byte) { ne.PutUint64(b[l.remote[0]:], 0) },
		"free page that is used":         func(b []byte) { ne.PutUint64(b[list+16:], uint64(l.root)) },
		"free page beyond the end":       func(b []byte) { ne.PutUint64(b[list+16:], 1<<40) },
		"65534 free pages":               func(b []byte) { ne.PutUint16(b[list+10:], 0xfffe) },
		"2^32 free pages": func(b []byte) {
			ne.PutUint16(b[list+10:], 0xffff)
			ne.PutUint64(b[list+16:], 1<<32)
		},
	}
	for i, value := range l.inline {
		for _, n := range []int{0, l.u16(value+16+10) + 1, 0xff, 0xfff, 0xffff} {
			tests[fmt.Sprintf("inline bucket %d of %d elements", i, n)] = func(b []byte) { ne.PutUint16(b[value+16+10:], uint16(n)) }
		}
		tests[fmt.Sprintf("inline bucket %d with a number", i)] = func(b []byte) { ne.PutUint64(b[value+16:], uint64(l.leaves[0])) }
		tests[fmt.Sprintf("inline bucket %d as a branch", i)] = func(b []byte) { ne.PutUint16(b[value+16+8:], 1) }
		tests[fmt.Sprintf("inline bucket %d that goes on", i)] = func(b []byte) { ne.PutUint32(b[value+16+12:], 1) }
		tests[fmt.Sprintf("inline bucket %d with a page", i)] = func(b []byte) { ne.PutUint64(b[value:], uint64(l.leaves[0])) }
	}
	dir := t.TempDir()
	for name, damage := range tests {
		b := bytes.Clone(l.good)
		damage(b)
		if bytes.Equal(b, l.good) {
			t.Errorf("%s: is no damage", name)
			continue
		}
		tryDamaged(t, dir, b, content, name, true)
	}
}

// TestStoreCutWhileOpen: a file that someone cuts under a running gateway is an error
// of the next change and not the end of the process.
func TestStoreCutWhileOpen(t *testing.T) {
	for _, size := range []int64{0, 100, storePageSize, 2 * storePageSize, 5*storePageSize + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			path, _ := filled(t, t.TempDir())
			s := openStore(t, filepath.Dir(path))
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first one must leave no lock behind
				err := s.SetAlias("c", "naa.1")
				if !errors.Is(err, ErrStoreCorrupt) || !strings.Contains(err.Error(), path) {
					t.Errorf("got %v, want %v with the file's name", err, ErrStoreCorrupt)
				}
			}
			if info := must[os.FileInfo](t)(os.Stat(path)); info.Size() != size {
				t.Errorf("the cut file has %d bytes, had %d", info.Size(), size)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := OpenStore(filepath.Dir(path)); !errors.Is(err, ErrStoreCorrupt) || !strings.Contains(err.Error(), path) {
				t.Errorf("opened again: got %v", err)
			}
		})
	}
}
