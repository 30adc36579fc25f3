// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

func TestDirectTarget(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := directTarget{fileTarget{f}}
	want := bytes.Repeat([]byte("pathgate"), 1024)
	if _, err := d.WriteAt(want, 4096); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := d.ReadAt(got, 4096); err != nil || n != len(want) || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, equal: %v", n, err, bytes.Equal(got, want))
	}
	if err := d.Flush(); err != nil {
		t.Error(err)
	}
	for _, n := range []int{512, 4096, 256 << 10} {
		if b := aligned(n); len(b) != n || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%alignment != 0 {
			t.Errorf("%d bytes at %p", len(b), b)
		}
	}
}
