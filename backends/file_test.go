// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fileCall is a request whose end the test sees.
type fileCall struct {
	Request
	res  Result
	done chan struct{}
}

func (c *fileCall) Complete(_ *Batch, _ *Request, res Result) {
	c.res = res
	close(c.done)
}

func newFileCall(op Op, off, n uint64, data []byte) *fileCall {
	c := &fileCall{done: make(chan struct{})}
	c.Request = Request{Op: op, Offset: off, Length: n, Completer: c}
	c.Data.AppendBytes(data)
	return c
}

func (c *fileCall) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// fileDo submits and waits.
func fileDo(t *testing.T, d Device, op Op, off, n uint64, data []byte) *fileCall {
	t.Helper()
	c := newFileCall(op, off, n, data)
	var b Batch
	d.Submit(&b, []*Request{&c.Request})
	b.Run()
	<-c.done
	return c
}

// idleFile is a file without workers: the test plays them.
func idleFile() *File {
	d := &File{
		info:    Info{Size: 1 << 20, LogicalBlock: 512, Caps: CanWriteZeroes | CanVerify},
		current: new(cohort), all: opRing{link: linkAll}, changes: opRing{link: linkRange}, reads: opRing{link: linkRange},
	}
	d.wake.L = &d.mu
	return d
}

// take begins the oldest request that is ready.
func (d *File) take(t *testing.T) *fileOp {
	t.Helper()
	op := d.ready
	if op == nil {
		t.Fatal("nothing is ready")
	}
	d.unqueueLocked(nil, op)
	op.started = true
	return op
}

func (d *File) end(op *fileOp) {
	var b Batch
	d.mu.Lock()
	d.endLocked(&b, op, Done())
	d.mu.Unlock()
	b.Run()
}

func submitFile(d Device, calls ...*fileCall) {
	var b Batch
	var reqs []*Request
	for _, c := range calls {
		reqs = append(reqs, &c.Request)
	}
	d.Submit(&b, reqs)
	b.Run()
}

func fileWrite(off, n uint64) *fileCall {
	return newFileCall(Write, off, n, make([]byte, n))
}

func TestFileOrdersOverlappingChanges(t *testing.T) {
	d := idleFile()
	first, apart := fileWrite(0, 1024), fileWrite(4096, 512)
	second, third := fileWrite(512, 1024), newFileCall(WriteZeroes, 1024, 512, nil)
	submitFile(d, first, second, third, apart)
	a := d.take(t)
	b := d.take(t)
	if a.r != &first.Request || b.r != &apart.Request || d.ready != nil {
		t.Fatal("ready are not the first change and the one apart, in order")
	}
	d.end(b)
	if d.ready != nil {
		t.Fatal("the end of the change apart let an overlapping one go")
	}
	d.end(a)
	c := d.take(t)
	if c.r != &second.Request || d.ready != nil {
		t.Fatal("the second change is not the one that is let go")
	}
	d.end(c)
	if d.take(t).r != &third.Request {
		t.Fatal("the third change is not let go")
	}
}

// TestP12FileReadsWholeBlocks: the kernel copies a block with no lock that a read would
// respect, so a read and a change of one block are never under way together.
func TestP12FileReadsWholeBlocks(t *testing.T) {
	d := idleFile()
	change, apart := fileWrite(0, 1024), newFileCall(Read, 4096, 512, nil)
	read, verify := newFileCall(Read, 512, 1024, nil), newFileCall(Verify, 512, 512, nil)
	younger := fileWrite(1024, 512)
	submitFile(d, change, read, verify, apart, younger)
	w := d.take(t)
	if w.r != &change.Request || d.take(t).r != &apart.Request || d.ready != nil {
		t.Fatal("ready are not the change and the read apart alone")
	}
	d.end(w)
	r, v := d.take(t), d.take(t)
	if r.r != &read.Request || v.r != &verify.Request || d.ready != nil {
		t.Fatal("ready are not the two reads, at the same time")
	}
	d.end(v)
	if d.ready != nil {
		t.Fatal("a change is let go beside a read that overlaps it")
	}
	d.end(r)
	if d.take(t).r != &younger.Request {
		t.Fatal("the younger change is not let go")
	}
}

// TestP12FileAbortLetsChangesGo: what waits for a read that is aborted waits no longer,
// and an aborted read is waited for by nobody.
func TestP12FileAbortLetsChangesGo(t *testing.T) {
	d := idleFile()
	read, change, after := newFileCall(Read, 0, 512, nil), fileWrite(0, 512), newFileCall(Read, 0, 512, nil)
	submitFile(d, read, change, after)
	var b Batch
	d.Abort(&b, &after.Request)
	d.Abort(&b, &read.Request)
	b.Run()
	if !read.ended() || !after.ended() || d.take(t).r != &change.Request || d.ready != nil {
		t.Fatal("the change is not the one that is let go")
	}
	if d.reads.first != nil {
		t.Fatal("an aborted read is left")
	}
}

func TestFileAbortLetsYoungerChangesGo(t *testing.T) {
	d := idleFile()
	first, second, third := fileWrite(0, 512), fileWrite(0, 1024), fileWrite(512, 512)
	submitFile(d, first, second, third)
	var b Batch
	d.Abort(&b, &second.Request)
	if second.ended() {
		t.Fatal("completed inside Abort")
	}
	b.Run()
	if !second.ended() || second.res.Class != Aborted || second.res.Sent != SentNone {
		t.Fatalf("a change that waits, aborted: %v, %v", second.ended(), second.res)
	}
	op := d.take(t)
	if op.r != &first.Request || d.take(t).r != &third.Request {
		t.Fatal("what waited for the aborted change only was not let go")
	}
	d.Abort(&b, &first.Request)
	b.Run()
	if first.ended() {
		t.Fatal("a change inside a system call was aborted")
	}
	d.end(op)
	if len(first.done) != 0 || !first.res.OK() {
		t.Fatalf("result %v", first.res)
	}
	d.Abort(&b, &first.Request) // ended: its operation is somebody else's now
	b.Run()
	fourth := fileWrite(2048, 512)
	submitFile(d, fourth)
	d.Abort(&b, &fourth.Request)
	b.Run()
	if !fourth.ended() || d.ready != nil || d.last != nil {
		t.Fatal("the last one in the queue was not taken out")
	}
}

func TestFileResetCountsOnlyWhatCameBefore(t *testing.T) {
	d := idleFile()
	running, waits, queued := fileWrite(0, 512), fileWrite(0, 512), fileWrite(4096, 512)
	submitFile(d, running, waits, queued)
	op := d.take(t)
	var ends []int
	var b Batch
	d.Reset(&b, func(*Batch, Result) { ends = append(ends, 1) })
	b.Run()
	if !waits.ended() || !queued.ended() || running.ended() || waits.res.Class != Aborted {
		t.Fatal("reset did not abort just what had not begun")
	}
	later, more := fileWrite(8192, 512), fileWrite(16384, 512)
	submitFile(d, later, more)
	l := d.take(t)
	d.Reset(&b, func(*Batch, Result) { ends = append(ends, 2) })
	b.Run()
	if !more.ended() {
		t.Fatal("the second reset did not abort what came between")
	}
	d.end(l)
	if len(ends) != 0 {
		t.Fatalf("resets %v ended with the first request running", ends)
	}
	again := fileWrite(0, 512)
	submitFile(d, again)
	if d.ready != nil {
		t.Fatal("a new change passed the one that runs")
	}
	d.end(op)
	if len(ends) != 2 || ends[0] != 1 || ends[1] != 2 {
		t.Fatalf("resets ended: %v, want 1, 2", ends)
	}
	d.end(d.take(t))
	if !again.ended() || d.all.first != nil || d.changes.first != nil || d.reads.first != nil {
		t.Fatal("something is left")
	}
}

func TestOpenFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("short"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		o          FileOptions
		want       string
	}{
		{"missing", path("none"), FileOptions{}, "no such file"},
		{"missing, read-only", path("none"), FileOptions{Size: 512, ReadOnly: true}, "no such file"},
		{"empty", path("empty"), FileOptions{}, "give it a size"},
		{"too short for reading", path("short"), FileOptions{Size: 1024, ReadOnly: true}, "has 1000 bytes"},
		{"odd size", path("new"), FileOptions{Size: 1000}, "multiple of the block size"},
		{"odd block", path("new"), FileOptions{Size: 1024, BlockSize: 520}, "neither 512 nor 4096"},
		{"too large", path("new"), FileOptions{Size: 1 << 63}, "more than a file can have"},
		{"FIFO", path("fifo"), FileOptions{ReadOnly: true}, "neither a regular file"},
		{"directory", dir, FileOptions{}, "neither a regular file"},
		{"character device", "/dev/null", FileOptions{}, "neither a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := OpenFile(tt.path, tt.o)
			if err == nil {
				t.Fatal("opened", d.Close())
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("error %q: want the path and %q", err, tt.want)
			}
		})
	}
}

func openTestFile(t *testing.T, path string, o FileOptions) *File {
	t.Helper()
	d, err := OpenFile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestFileHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	d := openTestFile(t, path, FileOptions{Size: 1 << 20})
	if e, err := OpenFile(path, FileOptions{}); err == nil {
		t.Error("opened twice", e.Close())
	} else if !strings.Contains(err.Error(), "in use") {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o := FileOptions{ReadOnly: true}
	a, b := openTestFile(t, path, o), openTestFile(t, path, o)
	if c := fileDo(t, a, Write, 0, 512, make([]byte, 512)); c.res.Class != DataProtect {
		t.Errorf("write to a read-only file: %v", c.res)
	}
	if c := fileDo(t, b, Flush, 0, 0, nil); !c.res.OK() {
		t.Errorf("flush of a read-only file: %v", c.res)
	}
}

func TestFileCutBelowItsSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	d := openTestFile(t, path, FileOptions{Size: 1 << 20})
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	c := fileDo(t, d, Read, 0, 8192, nil)
	if c.res.Class != Medium || len(c.Data) != 0 {
		t.Errorf("read beyond the file's end: %v, %d bytes", c.res, c.Data.Len())
	}
	if c := fileDo(t, d, Read, 0, 4096, nil); !c.res.OK() {
		t.Errorf("read of what is there: %v", c.res)
	}
}

func TestFileUnmapMakesHoles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	d := openTestFile(t, path, FileOptions{Size: 4 << 20})
	if !d.Info().Caps.Has(CanUnmap | UnmapZeroes) {
		t.Skip("the file system makes no holes")
	}
	blocks := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	data := bytes.Repeat([]byte{7}, 1<<20)
	fileDo(t, d, Write, 1<<20, 1<<20, data)
	c := fileDo(t, d, BlockStatus, 0, 4<<20, nil)
	hole := Extent{Length: 1 << 20, Hole: true, Zero: true}
	if x := c.Extents; len(x) != 3 || x[0] != hole || x[1] != (Extent{Length: 1 << 20}) || x[2].Length != 2<<20 {
		t.Errorf("extents %+v", x)
	}
	full := blocks()
	c = newFileCall(WriteZeroes, 1<<20, 512<<10, nil)
	c.NoUnmap = true
	submitFile(d, c)
	<-c.done
	if n := blocks(); !c.res.OK() || n < full {
		t.Errorf("zeroes without unmap: %v, %d of %d blocks left", c.res, n, full)
	}
	if c := fileDo(t, d, Unmap, 1<<20, 1<<20, nil); !c.res.OK() || blocks() != 0 {
		t.Errorf("unmap: %v, %d blocks left", c.res, blocks())
	}
	if c := fileDo(t, d, Read, 1<<20, 1<<20, nil); !bytes.Equal(c.Data.Bytes(), make([]byte, 1<<20)) {
		t.Error("what was unmapped does not read as zeros")
	}
}

// TestFlushFailureStays: HAZARDS P13.
func TestFlushFailureStays(t *testing.T) {
	d := openTestFile(t, filepath.Join(t.TempDir(), "disk"), FileOptions{Size: 1 << 20})
	w := &fileWorker{d: d}
	if res := w.flush(); !res.OK() {
		t.Fatal(res.Err())
	}
	if res := w.flushed(unix.EIO); res.Class != Medium {
		t.Errorf("a flush that failed: %v", res)
	}
	if res := w.flush(); res.Class != Medium {
		t.Errorf("the flush after it: %v, want the same", res)
	}
	c := newFileCall(Write, 0, 512, make([]byte, 512))
	c.FUA = true
	submitFile(d, c)
	<-c.done
	if c.res.Class != Medium {
		t.Errorf("a durable write after it: %v, want the same", c.res)
	}
}

func TestFileResultClasses(t *testing.T) {
	tests := []struct {
		err  error
		want Class
	}{
		{nil, OK},
		{unix.ENOSPC, NoSpace},
		{unix.EDQUOT, NoSpace},
		{unix.EROFS, DataProtect},
		{unix.EOPNOTSUPP, Unsupported},
		{unix.EIO, Medium},
		{errors.New("odd"), Medium},
	}
	for _, tt := range tests {
		if res := fileResult(tt.err); res.Class != tt.want || res.Sent != SentAnswered {
			t.Errorf("%v: %v, want %v, answered", tt.err, res, tt.want)
		}
	}
}

// TestFileNoSpace fills a tiny file system, if one can be mounted.
func TestFileNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system of our own: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := openTestFile(t, filepath.Join(dir, "disk"), FileOptions{Size: 8 << 20})
	c := newFileCall(Write, 0, 4<<20, make([]byte, 4<<20))
	c.FUA = true
	submitFile(d, c)
	<-c.done
	if c.res.Class != NoSpace {
		t.Errorf("write to a full file system: %v", c.res)
	}
	if c := fileDo(t, d, Flush, 0, 0, nil); !c.res.OK() {
		t.Errorf("flush: %v; a full file system loses nothing that was written", c.res)
	}
}
