// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	spc "pathgate/internal/scsi"
)

// first reads the first block of LUN 0, after what is being erased there.
func (c *iscsiClient) first() []byte {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		data, res := c.exec(0, spc.ReadWrite{Blocks: 1}, nil)
		if res.OK() {
			return data
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%+v", res)
		}
	}
}

// TestTargetsErasureGoesOn: what an initiator had erased when the gateway stopped is
// erased by the next one, but only where the disk is still made of the same.
func TestTargetsErasureGoesOn(t *testing.T) {
	for name, same := range map[string]bool{"same": true, "another file": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeDisk(t, filepath.Join(dir, "data"))
			data := bytes.Repeat([]byte{7}, 512)
			write := func(text string) *targetBed {
				b := newTargetBed(t, dir, text)
				b.attachMissing()
				c := b.initiator(t, "a", nil)
				if l := c.login(b, "vm1"); l != nil {
					t.Fatal(l.Err)
				}
				c.settle(0)
				if _, res := c.exec(0, spc.ReadWrite{Write: true, Blocks: 1}, data); !res.OK() {
					t.Fatal(res)
				}
				c.logout()
				return b
			}
			other := strings.Replace(twoDisks, "DIR/root", "DIR/other", 1)
			write(other).stop()
			b := write(twoDisks)
			rec := ErasureRecord{Layout: b.byName["vm1/root"].Disk.Layout(), Erasure: []byte(`{}`)}
			if err := b.store.PutErasure("vm1", "root", rec); err != nil {
				t.Fatal(err)
			}
			b.stop()
			text, want := twoDisks, make([]byte, 512)
			if !same {
				text, want = other, data
			}
			b = newTargetBed(t, dir, text)
			b.attachMissing()
			c := b.initiator(t, "a", nil)
			if l := c.login(b, "vm1"); l != nil {
				t.Fatal(l.Err)
			}
			if got := c.first(); !bytes.Equal(got, want) {
				t.Errorf("the block begins with %x, want %x", got[:4], want[:4])
			}
			if rec := must[ErasureRecord](t)(b.store.Erasure("vm1", "root")); rec.Erasure != nil {
				t.Errorf("%q is kept", rec.Erasure)
			}
		})
	}
}

// TestTargetsSanitize: a SANITIZE by an initiator ends with nothing kept, and others may
// use the disk again.
func TestTargetsSanitize(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, filepath.Join(dir, "data"))
	b := newTargetBed(t, dir, twoDisks)
	b.attachMissing()
	c := b.initiator(t, "a", nil)
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	c.settle(0)
	if _, res := c.exec(0, spc.Sanitize{Action: spc.ActionBlockErase}, nil); !res.OK() {
		t.Fatalf("%+v", res)
	}
	if rec := must[ErasureRecord](t)(b.store.Erasure("vm1", "root")); rec.Erasure != nil {
		t.Errorf("%q is kept", rec.Erasure)
	}
	if got := b.outside(t, "vm1/root", backends.Write); got != backends.OK {
		t.Errorf("a write over NBD: %v", got)
	}
}
