// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"pathgate/backends"
)

// entry is one request that the disk has carried out.
type entry struct {
	op          backends.Op
	off, length uint64
	data        []byte // nil: zeros
	fua         bool
	covers      int // of a flush: how many entries there were when it was submitted
}

// barrier tells whether entry makes something durable.
func (e *entry) barrier() bool { return e.op == backends.Flush || e.fua }

// recorder is a disk with a volatile write cache that notes changes and flushes as it
// answers them.
type recorder struct {
	backends.Device

	mu      sync.Mutex
	log     []entry
	running map[*backends.Request]owned
}

// owned is what the disk keeps of a request that is below.
type owned struct {
	completer backends.Completer
	length    int // of the record, at its submission
}

func newRecorder(d backends.Device) *recorder {
	return &recorder{Device: d, running: map[*backends.Request]owned{}}
}

// Info is that of the disk below, with a volatile cache.
func (d *recorder) Info() backends.Info {
	i := d.Device.Info()
	i.WriteCache = backends.CacheVolatile
	return i
}

// Submit has the ends of changes and flushes come by here.
func (d *recorder) Submit(b *backends.Batch, reqs []*backends.Request) {
	d.mu.Lock()
	for _, r := range reqs {
		if r.Op.Changes() || r.Op == backends.Flush {
			d.running[r] = owned{r.Completer, len(d.log)}
			r.Completer = d
		}
	}
	d.mu.Unlock()
	d.Device.Submit(b, reqs)
}

// Complete notes what was done, before its owner hears of it.
func (d *recorder) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	d.mu.Lock()
	o := d.running[r]
	delete(d.running, r)
	if res.OK() {
		e := entry{op: r.Op, off: r.Offset, length: r.Length, fua: r.FUA}
		switch r.Op {
		case backends.Write:
			e.data = slices.Clone(r.Data.Bytes())
		case backends.CompareAndWrite:
			e.data = slices.Clone(r.Data.Bytes()[r.Length:])
		case backends.Flush:
			e.covers = o.length
		default: // zeros
		}
		d.log = append(d.log, e)
	}
	d.mu.Unlock()
	r.Completer = o.completer
	r.Completer.Complete(b, r, res)
}

// length is how long the record is now.
func (d *recorder) length() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// record gives what was recorded so far.
func (d *recorder) record() record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return record(slices.Clone(d.log))
}

// content reads the whole disk.
func (d *recorder) content(t *testing.T) []byte {
	t.Helper()
	out := make([]byte, d.Info().Size)
	for off := 0; off < len(out); off += mib {
		var b backends.Batch
		ended := make(chan backends.Result, 1)
		r := &backends.Request{Op: backends.Read, Offset: uint64(off), Length: mib}
		r.Completer = backends.CompleterFunc(func(_ *backends.Batch, r *backends.Request, res backends.Result) {
			r.Data.CopyTo(out[off:])
			ended <- res
		})
		d.Device.Submit(&b, []*backends.Request{r})
		b.Run()
		if res := <-ended; !res.OK() {
			t.Fatal(res.Err())
		}
		r.Reset()
	}
	return out
}

// record is what a disk did, in the order of its answers.
type record []entry

// flushes gives the lengths of the prefixes that end at a flush, or at a write with FUA.
func (l record) flushes() (ends []int) {
	for i := range l {
		if l[i].barrier() {
			ends = append(ends, i+1)
		}
	}
	return ends
}

// durable tells how much of the prefix of length n its flushes cover.
func (l record) durable(n int) (covered int) {
	for i := range l[:n] {
		covered = max(covered, l[i].covers)
	}
	return covered
}

// lastFlush gives the length of the longest prefix, of n entries at most, that ends at a
// flush.
func (l record) lastFlush(n int) int {
	for n > 0 && !l[n-1].barrier() {
		n--
	}
	return n
}

// apply carries out the entry on disk.
func (e *entry) apply(disk []byte) { e.applyPart(disk, 0, e.length) }

// applyPart carries out bytes [from, to) of it.
func (e *entry) applyPart(disk []byte, from, to uint64) {
	switch at := disk[e.off : e.off+e.length]; {
	case e.length == 0: // a flush
	case e.data == nil:
		clear(at[from:to])
	default:
		copy(at[from:to], e.data[from:to])
	}
}

// find gives the indices of the writes in l[from:to] that hold content.
func (l record) find(from, to int, content []byte) (found []int) {
	for i := from; i < to; i++ {
		if bytes.Contains(l[i].data, content) {
			found = append(found, i)
		}
	}
	return found
}
