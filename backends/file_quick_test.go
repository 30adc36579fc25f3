// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pathgate/internal/buffer"
)

// quickFile is a file in memory without workers, so that what ends has ended inside Submit.
func quickFile(t *testing.T) *File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	d := idleFile()
	d.f, d.fd, d.quick, d.info.Size = f, int(f.Fd()), quickMemory, 4<<20
	if err := f.Truncate(4 << 20); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFileQuickRequests(t *testing.T) {
	fua := fileWrite(0, 4096)
	fua.FUA = true
	scattered := newFileCall(Write, 0, 17*512, nil)
	for range 17 {
		scattered.Data.AppendBytes(make([]byte, 512))
	}
	for _, tt := range []struct {
		name           string
		c              *fileCall
		cached, memory bool
	}{
		{"read", newFileCall(Read, 0, 4096, nil), true, true},
		{"longest read", newFileCall(Read, 0, quickBytes, nil), true, true},
		{"longer read", newFileCall(Read, 0, quickBytes+512, nil), false, false},
		{"write", fileWrite(0, 4096), false, true},
		{"longer write", fileWrite(0, quickBytes+512), false, false},
		{"durable write", fua, false, false},
		{"write of many slices", scattered, false, len(scattered.Data) <= quickVectors},
		{"flush", newFileCall(Flush, 0, 0, nil), false, false},
		{"zeroes", newFileCall(WriteZeroes, 0, 4096, nil), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for q, want := range map[quickness]bool{quickNothing: false, quickCached: tt.cached, quickMemory: tt.memory} {
				d := &File{quick: q}
				if got := d.quickly(&tt.c.Request, 0); got != want {
					t.Errorf("quickness %d: %v, want %v", q, got, want)
				}
				if d.quickly(&tt.c.Request, quickTurn) {
					t.Errorf("quickness %d: beyond what one Submit does", q)
				}
			}
		})
	}
}

// TestFileQuicklyInsideSubmit writes and reads without a worker.
func TestFileQuicklyInsideSubmit(t *testing.T) {
	d := quickFile(t)
	data := bytes.Repeat([]byte{1, 2, 3, 4}, 1024)
	w := newFileCall(Write, 8192, 4096, nil)
	for _, p := range [][]byte{data[:512], data[512:4096]} { // two slices
		s := buffer.Get(len(p))
		copy(s.Bytes(), p)
		w.Data.Append(s.Slice(0, len(p)))
	}
	var b Batch
	d.Submit(&b, []*Request{&w.Request})
	if w.ended() {
		t.Fatal("completed inside Submit, not by the batch")
	}
	b.Run()
	r := newFileCall(Read, 8192, 4096, nil)
	submitFile(d, r)
	if !w.ended() || !w.res.OK() || !r.ended() || !r.res.OK() || !bytes.Equal(r.Data.Bytes(), data) {
		t.Fatalf("write %v %v, read %v %v, %d bytes", w.ended(), w.res, r.ended(), r.res, r.Data.Len())
	}
	if d.ready != nil || d.all.first != nil || d.changes.first != nil || d.reads.first != nil {
		t.Error("something is left")
	}
}

// TestFileQuickWritesKeepOrder: a quick write waits for an older one that overlaps, and
// an older one that is quick is waited for.
func TestFileQuickWritesKeepOrder(t *testing.T) {
	d := quickFile(t)
	long, quick, apart := fileWrite(0, 128<<10), fileWrite(4096, 512), fileWrite(1<<20, 512)
	after := fileWrite(1<<20, 1024)
	submitFile(d, long, quick, apart, after)
	if long.ended() || quick.ended() || !apart.ended() || after.ended() {
		t.Fatalf("ended: %v %v %v %v, want only the one apart", long.ended(), quick.ended(), apart.ended(), after.ended())
	}
	first, second := d.take(t), d.take(t)
	if first.r != &long.Request || second.r != &after.Request || d.ready != nil {
		t.Fatal("the workers do not have the long write and the one behind the quick one")
	}
	d.end(first)
	if op := d.take(t); op.r != &quick.Request {
		t.Fatal("the end of the long write did not let the quick one go")
	}
}

// TestFileQuickTurn: one Submit does only so much itself, the rest is queued.
func TestFileQuickTurn(t *testing.T) {
	d := quickFile(t)
	var calls []*fileCall
	for i := range 2 * quickTurn / quickBytes {
		calls = append(calls, newFileCall(Read, uint64(i)*quickBytes, quickBytes, nil))
	}
	submitFile(d, calls...)
	for i, c := range calls {
		if want := i < quickTurn/quickBytes; c.ended() != want {
			t.Errorf("read %d: ended %v, want %v", i, c.ended(), want)
		}
	}
	if d.take(t).r != &calls[quickTurn/quickBytes].Request {
		t.Error("the first of the rest is not the first in the queue")
	}
}

// TestFileQuickFails: what cannot be done at once is left to a worker, also after a
// reset, which waits for it.
func TestFileQuickFails(t *testing.T) {
	d := quickFile(t)
	good := d.fd
	w, r := fileWrite(0, 4096), newFileCall(Read, 8192, 4096, nil)
	var b Batch
	list := d.accept(&b, []*Request{&w.Request, &r.Request})
	reset := false
	d.Reset(&b, func(*Batch, Result) { reset = true })
	d.Abort(&b, &w.Request)
	d.fd = -1
	d.submitQuickly(&b, list)
	b.Run()
	if w.ended() || r.ended() || reset {
		t.Fatalf("ended: %v %v, reset %v: want nothing", w.ended(), r.ended(), reset)
	}
	d.fd = good
	first := d.take(t)
	second := d.take(t)
	if first.r != &w.Request || second.r != &r.Request {
		t.Fatal("they are not in the queue in order")
	}
	d.end(first)
	if reset {
		t.Fatal("the reset did not wait for the read")
	}
	d.end(second)
	if !reset || !w.ended() || !r.ended() {
		t.Errorf("ended: %v %v, reset %v: want all", w.ended(), r.ended(), reset)
	}
	if err := unix.Ftruncate(d.fd, 4096); err != nil {
		t.Fatal(err)
	}
	if short := newFileCall(Read, 0, 8192, nil); true {
		submitFile(d, short)
		if short.ended() || len(short.Data) != 0 || d.take(t).r != &short.Request {
			t.Error("a read beyond the file's end was not left to the workers")
		}
	}
}

func TestFileQuickness(t *testing.T) {
	d := openTestFile(t, filepath.Join(t.TempDir(), "disk"), FileOptions{Size: 1 << 20})
	var fs unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &fs); err != nil {
		t.Fatal(err)
	}
	if got := d.quick == quickMemory; got != (fs.Type == unix.TMPFS_MAGIC) {
		t.Errorf("quickness %d on a file system of type %x", d.quick, fs.Type)
	}
	dir, err := os.MkdirTemp("/dev/shm", "quick-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d = openTestFile(t, filepath.Join(dir, "disk"), FileOptions{Size: 1 << 20})
	if d.quick != quickMemory {
		t.Errorf("quickness %d on tmpfs", d.quick)
	}
	if c := fileDo(t, d, Write, 4096, 4096, bytes.Repeat([]byte{9}, 4096)); !c.res.OK() {
		t.Error(c.res)
	}
}
