// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pathgate/backends"
)

// newPlain gives a disk on all of one device.
func newPlain(t *testing.T, dev backends.Device) *Disk {
	t.Helper()
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a"}}})
	if err := d.Attach("a", newTestRouter(t, dev)); err != nil {
		t.Fatal(err)
	}
	return d
}

// newSimple gives a device that has no COMPARE AND WRITE.
func newSimple(t *testing.T, size uint64) *limited {
	l := newLimited(t, size, 64<<10, 0)
	l.info.Caps &^= backends.CanCompareAndWrite
	return l
}

func compareAndWrite(d backends.Device, off uint64, was, to []byte) *pending {
	return start(d, backends.CompareAndWrite, off, uint64(len(was)), slices.Concat(was, to))
}

// letOne has the i-th request that is held go on its way.
func (l *limited) letOne(i int) {
	var b backends.Batch
	r := l.held[i]
	l.held = slices.Delete(l.held, i, i+1)
	l.Memory.Submit(&b, []*backends.Request{r})
	b.Run()
}

// TestP12CompareAndWrite: a disk compares and writes on any device, over the borders
// of extents and of what the device takes at once, all of it or nothing.
func TestP12CompareAndWrite(t *testing.T) {
	concat, devs := newConcat(t)
	for _, l := range devs {
		l.info.Caps &^= backends.CanCompareAndWrite
	}
	native := newLimited(t, 1<<20, 16<<10, 0)
	native.info.MaxCompare = 512
	for name, d := range map[string]*Disk{
		"three extents": concat, "no such operation below": newPlain(t, newSimple(t, 1<<20)), "a shorter one below": newPlain(t, native),
	} {
		t.Run(name, func(t *testing.T) {
			const off, n = 300<<10 - 32<<10, 64 << 10
			if info := d.Info(); !info.Caps.Has(backends.CanCompareAndWrite) || info.CompareLimit() < n {
				t.Fatalf("%+v", info)
			}
			old, next := bytes.Repeat([]byte{1}, n), bytes.Repeat([]byte{2}, n)
			do(t, d, backends.Write, off, n, old)
			if p := compareAndWrite(d, off, old, next); p.ends != 1 || !p.res.OK() {
				t.Fatalf("%d ends, %v", p.ends, p.res)
			}
			if got := do(t, d, backends.Read, off, n, nil); !bytes.Equal(got, next) {
				t.Error("it was not written")
			}
			expect := bytes.Clone(next)
			expect[n-100] ^= 1
			p := compareAndWrite(d, off, expect, old)
			if p.res.Class != backends.Miscompare || p.res.Sense.Information != n-100 || !p.res.Sense.HasInfo {
				t.Errorf("%v, %+v, want a miscompare at %d", p.res.Class, p.res.Sense, n-100)
			}
			if got := do(t, d, backends.Read, off, n, nil); !bytes.Equal(got, next) {
				t.Error("a part of it was written after a miscompare")
			}
			if d.Outstanding() != 0 || d.alone != 0 || d.waiting != 0 {
				t.Errorf("%d outstanding, %d alone, %d waiting", d.Outstanding(), d.alone, d.waiting)
			}
		})
	}
	native.subs = 0
	if p := compareAndWrite(newPlain(t, native), 0, make([]byte, 512), make([]byte, 512)); !p.res.OK() || native.subs != 1 {
		t.Errorf("one that the device does: %v, %d requests", p.res, native.subs)
	}
}

// liar is a device that says that it has COMPARE AND WRITE, and refuses it.
type liar struct{ *limited }

func (l liar) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if r.Op == backends.CompareAndWrite {
			b.Complete(r, backends.Result{Class: backends.Unsupported, Sent: backends.SentAnswered})
			continue
		}
		l.limited.Submit(b, []*backends.Request{r})
	}
}

// TestP12CompareAndWriteRefused: one that the device below refuses in spite of what it
// says is made by the disk; where others use the LUN, it is refused.
func TestP12CompareAndWriteRefused(t *testing.T) {
	dev := liar{newLimited(t, 1<<20, 0, 0)}
	d := newPlain(t, dev)
	old, next := make([]byte, 1024), bytes.Repeat([]byte{2}, 1024)
	if p := compareAndWrite(d, 512, old, next); p.ends != 1 || !p.res.OK() {
		t.Fatalf("%d ends, %v", p.ends, p.res)
	}
	if got := do(t, d, backends.Read, 512, 1024, nil); !bytes.Equal(got, next) || d.alone != 0 {
		t.Errorf("it was not written, or %d alone", d.alone)
	}
	if p := compareAndWrite(d, 512, old, next); p.res.Class != backends.Miscompare {
		t.Errorf("once more: %v", p.res)
	}
	dev.info.Caps |= backends.Shared
	if p := compareAndWrite(newPlain(t, dev), 512, next, old); p.res.Class != backends.Unsupported {
		t.Errorf("shared: %v", p.res)
	}
}

// TestCompareAndWriteRefusedTwice: of two that overlap and are both refused below, the
// second one first, none waits for the other for ever.
func TestCompareAndWriteRefusedTwice(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	d := newPlain(t, dev)
	one, two := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 512)
	dev.hold = true
	a, c := compareAndWrite(d, 0, make([]byte, 512), one), compareAndWrite(d, 0, make([]byte, 512), two)
	held := dev.held
	dev.held, dev.hold = nil, false
	if len(held) != 2 {
		t.Fatalf("%d are out", len(held))
	}
	var b backends.Batch
	for _, i := range []int{1, 0} {
		dev.hold = i == 1
		b.Complete(held[i], backends.Result{Class: backends.Unsupported, Sent: backends.SentAnswered})
		b.Run()
	}
	dev.release()
	if a.ends != 1 || c.ends != 1 || a.res.Class != backends.Miscompare && c.res.Class != backends.Miscompare || a.res.OK() == c.res.OK() {
		t.Errorf("%d and %d ends, %v and %v", a.ends, c.ends, a.res, c.res)
	}
	if d.alone != 0 || d.waiting != 0 || d.Outstanding() != 0 {
		t.Errorf("%d alone, %d waiting", d.alone, d.waiting)
	}
}

// TestP12CompareAndWriteShared: where others use the LUN, only what it does itself is
// one step.
func TestP12CompareAndWriteShared(t *testing.T) {
	shared := newSimple(t, 1<<20)
	shared.info.Caps |= backends.Shared
	if info := newPlain(t, shared).Info(); info.Caps.Has(backends.CanCompareAndWrite) {
		t.Errorf("offered: %+v", info)
	}
	native := newLimited(t, 1<<20, 0, 0)
	native.info.MaxCompare = 512
	native.info.Caps |= backends.Shared
	d := newPlain(t, native)
	if info := d.Info(); !info.Caps.Has(backends.CanCompareAndWrite) || info.CompareLimit() != 512 {
		t.Errorf("%+v", info)
	}
	if p := compareAndWrite(d, 0, make([]byte, 1024), make([]byte, 1024)); p.res.Class != backends.IllegalRequest {
		t.Errorf("a longer one: %v", p.res)
	}
}

// TestCompareAndWriteAlone: it waits for what is under way in its range, and what comes
// later waits for it; other ranges do not.
func TestCompareAndWriteAlone(t *testing.T) {
	dev := newSimple(t, 1<<20)
	d := newPlain(t, dev)
	one, two := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 512)
	dev.hold = true
	write := start(d, backends.Write, 512, 512, one)
	read := start(d, backends.Read, 0, 1024, nil)
	swap := compareAndWrite(d, 512, one, two)
	after := start(d, backends.Read, 512, 512, nil)
	later := start(d, backends.Write, 0, 1024, slices.Concat(one, one))
	start(d, backends.Read, 4096, 512, nil)
	if len(dev.held) != 3 {
		t.Fatalf("%d requests are out, want the write and two reads", len(dev.held))
	}
	dev.letOne(0)
	if len(dev.held) != 2 {
		t.Fatal("it is begun beside a read of its range")
	}
	dev.letOne(0)
	if write.ends != 1 || read.ends != 1 || len(dev.held) != 2 || dev.held[1].Op != backends.Read {
		t.Fatalf("it has not begun: %d out", len(dev.held))
	}
	dev.letOne(1)
	if swap.ends != 0 || len(dev.held) != 2 || dev.held[1].Op != backends.Write {
		t.Fatal("the compared range is not written")
	}
	var b backends.Batch
	d.Abort(&b, &later.Request)
	b.Run()
	if later.ends != 1 || later.res.Class != backends.Aborted {
		t.Errorf("one that waits cannot be aborted: %v", later.res)
	}
	dev.letOne(1)
	if swap.ends != 1 || !swap.res.OK() || after.ends != 0 {
		t.Fatalf("%d ends, %v; the read after it: %d", swap.ends, swap.res, after.ends)
	}
	dev.release()
	if after.ends != 1 || !bytes.Equal(after.Data.Bytes(), two) {
		t.Error("the read after it does not see it")
	}
	dev.hold = true
	aborted := compareAndWrite(d, 512, two, one)
	d.Abort(&b, &aborted.Request)
	b.Run()
	dev.release()
	if aborted.ends != 1 || aborted.res.Class != backends.Aborted {
		t.Errorf("abort while it reads: %v", aborted.res)
	}
	if got := do(t, d, backends.Read, 512, 512, nil); !bytes.Equal(got, two) || d.alone != 0 || d.waiting != 0 {
		t.Errorf("an aborted one was written, or %d alone, %d waiting", d.alone, d.waiting)
	}
}

// TestWaitingChangeKeepsOrder: a change that overlaps one which waits comes after it,
// also where it does not overlap what that one waits for.
func TestWaitingChangeKeepsOrder(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 4096)
	d := newPlain(t, dev)
	dev.hold = true
	start(d, backends.WriteZeroes, 0, 512<<10, nil)
	first := start(d, backends.Write, 512<<10-4096, 8192, bytes.Repeat([]byte{1}, 8192))
	second := start(d, backends.Write, 512<<10, 4096, bytes.Repeat([]byte{2}, 4096))
	if len(dev.held) != maxTogether {
		t.Fatalf("%d requests are out, want those of the zeroing", len(dev.held))
	}
	dev.release()
	if first.ends != 1 || second.ends != 1 {
		t.Fatalf("%d and %d ends", first.ends, second.ends)
	}
	if got := do(t, d, backends.Read, 512<<10, 4096, nil); !bytes.Equal(got, second.Data.Bytes()) {
		t.Error("an older write landed over a later one")
	}
}

// withoutCompare is a device that has no COMPARE AND WRITE.
type withoutCompare struct{ backends.Device }

func (w withoutCompare) Info() backends.Info {
	i := w.Device.Info()
	i.Caps &^= backends.CanCompareAndWrite
	return i
}

// TestP12CompareAndWriteCounts: several who count up the same number lose no count.
func TestP12CompareAndWriteCounts(t *testing.T) {
	f, err := backends.OpenFile(filepath.Join(t.TempDir(), "disk"), backends.FileOptions{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a"}}})
	if err := d.Attach("a", newTimedRouter(t, withoutCompare{f})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	const workers, counts, size = 4, 50, 2048
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := 0; n < counts; {
				was := ask(d, backends.Read, 0, size, nil).got
				next := make([]byte, size)
				for at := 0; at < size; at += 8 { // the same in all blocks
					binary.BigEndian.PutUint64(next[at:], binary.BigEndian.Uint64(was)+1)
				}
				switch a := ask(d, backends.CompareAndWrite, 0, size, slices.Concat(was, next)); a.res.Class {
				case backends.OK:
					n++
				case backends.Miscompare:
				default:
					t.Errorf("%v", a.res)
					return
				}
			}
		})
	}
	all.Wait()
	got := ask(d, backends.Read, 0, size, nil).got
	for at := 0; at < size; at += 8 {
		if n := binary.BigEndian.Uint64(got[at:]); n != workers*counts {
			t.Fatalf("%d were counted at %d, want %d", n, at, workers*counts)
		}
	}
}

// answer is the end of a request on a device that completes on other goroutines.
type answer struct {
	res backends.Result
	got []byte
}

// ask carries out one request and waits for its end.
func ask(d backends.Device, op backends.Op, off, n uint64, data []byte) answer {
	end := make(chan answer, 1)
	r := &backends.Request{Op: op, Offset: off, Length: n}
	r.Data.AppendBytes(data)
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, r *backends.Request, res backends.Result) {
		end <- answer{res, bytes.Clone(r.Data.Bytes())}
	})
	var b backends.Batch
	d.Submit(&b, []*backends.Request{r})
	b.Run()
	a := <-end
	r.Reset()
	return a
}

// mediumError is a device whose block at an LBA cannot be read.
type mediumError struct {
	*limited
	lba uint64
}

func (m mediumError) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if m.lba*512 < r.Offset || m.lba*512 >= r.Offset+r.Length {
			m.limited.Submit(b, []*backends.Request{r})
			continue
		}
		b.Complete(r, backends.Result{Class: backends.Medium, Sent: backends.SentAnswered, Sense: backends.Sense{
			Valid: true, Key: 3, ASC: 0x11, HasInfo: true, Information: m.lba,
		}})
	}
}

// TestDiskMediumError: the block that a LUN names is told as the disk's own.
func TestDiskMediumError(t *testing.T) {
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "a", Offset: 64 << 10, Length: 64 << 10}, {Ref: "b", Offset: 32 << 10, Length: 128 << 10},
	}})
	for ref, dev := range map[string]backends.Device{
		"a": newLimited(t, 1<<20, 0, 0), "b": mediumError{newLimited(t, 1<<20, 16<<10, 0), 100},
	} {
		if err := d.Attach(ref, newTestRouter(t, dev)); err != nil {
			t.Fatal(err)
		}
	}
	p := start(d, backends.Read, 32<<10, 128<<10, nil)
	const want = 64<<10/512 + 100 - 32<<10/512
	if p.res.Class != backends.Medium || !p.res.Sense.HasInfo || p.res.Sense.Information != want {
		t.Errorf("%v, %+v, want LBA %d", p.res.Class, p.res.Sense, want)
	}
}
