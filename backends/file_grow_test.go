// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const growFrom = 1 << 20

// TestFileGrows: what is new reads as zeros and can be written, what is old stays, who
// watches is told, and the file has the size when Grow returns and when it is opened again.
func TestFileGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	d := openTestFile(t, path, FileOptions{Size: growFrom})
	old := bytes.Repeat([]byte{7}, 512)
	if res := fileDo(t, d, Write, growFrom-512, 512, old).res; !res.OK() {
		t.Fatal(res)
	}
	if res := fileDo(t, d, Write, growFrom, 512, old).res; res.Class != IllegalRequest {
		t.Errorf("write behind the end: %v", res)
	}
	var told []Change
	d.Watch(func(c Change) { told = append(told, c) })
	for range 2 { // the second changes nothing
		if err := d.Grow(2*growFrom, false); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0] != SizeChanged || d.Info().Size != 2*growFrom {
		t.Errorf("told %v, size %d", told, d.Info().Size)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != 2*growFrom {
		t.Errorf("the file: %v, %v", st, err)
	}
	want := append(bytes.Clone(old), make([]byte, growFrom)...)
	if c := fileDo(t, d, Read, growFrom-512, growFrom+512, nil); !c.res.OK() || !bytes.Equal(c.Data.Bytes(), want) {
		t.Errorf("read over the old end: %v", c.res)
	}
	if res := fileDo(t, d, Write, 2*growFrom-512, 512, old).res; !res.OK() {
		t.Errorf("write at the new end: %v", res)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Grow(3*growFrom, false); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for size, o := range map[uint64]FileOptions{
		2 * growFrom: {Size: growFrom, Grows: true},
		growFrom:     {Size: growFrom},
		3 * growFrom: {Size: 3 * growFrom, Grows: true},
	} {
		d := openTestFile(t, path, o)
		if got := d.Info().Size; got != size {
			t.Errorf("opened with %+v: %d bytes", o, got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 2*growFrom); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileGrowRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	d := openTestFile(t, path, FileOptions{Size: growFrom, BlockSize: 4096})
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	room := uint64(1 << 61)
	if fs.Blocks > 0 {
		room = (fs.Blocks*uint64(fs.Bsize) + growFrom) &^ 4095
	}
	for name, tt := range map[string]struct {
		size uint64
		thin bool
		want error // nil: any
	}{
		"shrink":                     {growFrom - 4096, true, ErrShrink},
		"to nothing":                 {0, true, ErrShrink},
		"shrink, not in blocks":      {growFrom - 1, true, ErrShrink},
		"not in blocks":              {growFrom + 512, true, nil},
		"all of the file system":     {room, false, ErrNoSpace},
		"more than a file can have":  {1 << 63, true, ErrNoSpace},
		"more than this one can":     {1<<63 - 4096, true, ErrNoSpace},
		"the most, not in blocks":    {1<<64 - 1, true, nil},
		"the most that is in blocks": {1<<64 - 4096, true, ErrNoSpace},
	} {
		t.Run(name, func(t *testing.T) {
			err := d.Grow(tt.size, tt.thin)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if st, err := os.Stat(path); err != nil || st.Size() != growFrom || d.Info().Size != growFrom {
				t.Errorf("the file: %v, %v, the disk %d", st.Size(), err, d.Info().Size)
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		r := openTestFile(t, path, FileOptions{ReadOnly: true})
		if err := r.Grow(2*growFrom, false); !errors.Is(err, ErrFixedSize) {
			t.Error(err)
		}
	})
	t.Run("after a flush that failed", func(t *testing.T) {
		d := openTestFile(t, filepath.Join(dir, "lost"), FileOptions{Size: growFrom})
		d.lost = unix.EIO
		if err := d.Grow(2*growFrom, false); !errors.Is(err, unix.EIO) || d.Info().Size != growFrom {
			t.Errorf("%v, size %d", err, d.Info().Size)
		}
		d.lost = nil
	})
}

// TestFileGrowsUnderLoad: growths side by side end at the largest, and requests go on.
func TestFileGrowsUnderLoad(t *testing.T) {
	d := openTestFile(t, filepath.Join(t.TempDir(), "disk"), FileOptions{Size: growFrom})
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range uint64(2) {
		all.Go(func() {
			data := bytes.Repeat([]byte{byte(i + 1)}, 512)
			for {
				if res := fileDo(t, d, Write, growFrom-512-i*512, 512, data).res; !res.OK() {
					t.Error(res)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var growing sync.WaitGroup
	for i := range uint64(8) {
		growing.Go(func() {
			size := growFrom + (i+1)*4096
			if err := d.Grow(size, false); err != nil && !errors.Is(err, ErrShrink) {
				t.Error(err)
			}
			if got := d.Info().Size; got < size {
				t.Errorf("%d bytes after a growth to %d", got, size)
			}
		})
	}
	growing.Wait()
	close(stop)
	all.Wait()
	if got := d.Info().Size; got != growFrom+8*4096 {
		t.Errorf("%d bytes", got)
	}
}
