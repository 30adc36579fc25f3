// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// lack has the LUN of a bed answer op with a sense code, and gives the changes that
// are told.
func lack(bd *bed, l *fakeLUN, op backends.Op, key, asc, ascq uint8) *atomic.Uint32 {
	var told atomic.Uint32
	bd.device().Watch(func(c backends.Change) { told.Or(uint32(c)) })
	bd.net.with(func() {
		l.answer = func(r *backends.Request) (backends.Result, bool) { return sense(key, asc, ascq), r.Op == op }
	})
	return &told
}

// TestH08UnsupportedIsNotAdvertised: 5/20 ends the request, and what it asked for is
// not advertised any more, by no proof either.
func TestH08UnsupportedIsNotAdvertised(t *testing.T) {
	for op, caps := range map[backends.Op]backends.Caps{
		backends.Verify: backends.CanVerify, backends.WriteZeroes: backends.CanWriteZeroes, backends.Read: 0,
	} {
		t.Run(op.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, l := oneDisk(t, nil)
				defer bd.stop()
				d := bd.device()
				before := d.Info().Caps
				if !before.Has(caps) {
					t.Fatalf("caps %v", before)
				}
				told := lack(bd, l, op, 5, 0x20, 0)
				c := newCall(op, 0, 4096, 0)
				do(d, c)
				if res := c.wait(); res.Class != backends.Unsupported {
					t.Errorf("got %+v", res)
				}
				synctest.Wait()
				if err := bd.m.Rescan(t.Context()); err != nil {
					t.Error(err)
				}
				if got := d.Info().Caps; got != before&^caps {
					t.Errorf("caps %v, were %v", got, before)
				}
				if changed := backends.Change(told.Load())&backends.CapsChanged != 0; changed != (caps != 0) {
					t.Errorf("told: %v", changed)
				}
				if bd.used() != 4 {
					t.Errorf("a path was blamed: %+v", bd.m.Paths())
				}
			})
		})
	}
}

// TestH08WriteProtected: 7/27 ends the request, and the device is read-only until a
// path's next proof finds it writable.
func TestH08WriteProtected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		told := lack(bd, l, backends.Write, 7, 0x27, 0)
		if res := write(d, 0, 4096, 1).wait(); res.Class != backends.DataProtect {
			t.Errorf("got %+v", res)
		}
		synctest.Wait()
		if !d.Info().Caps.Has(backends.ReadOnly) || backends.Change(told.Load())&backends.CapsChanged == 0 {
			t.Errorf("caps %v, told %v", d.Info().Caps, told.Load())
		}
		mustRead(t, d, 0, 4096, 0)
		bd.net.with(func() { l.answer = nil })
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Error(err)
		}
		if d.Info().Caps.Has(backends.ReadOnly) || bd.used() != 4 {
			t.Errorf("caps %v; %+v", d.Info().Caps, bd.m.Paths())
		}
		mustOK(t, write(d, 0, 4096, 1))
	})
}

// TestH08SpaceLow: 6/38/07 costs nothing, and is told once for all paths.
func TestH08SpaceLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		for range 2 {
			bd.net.with(func() {
				for _, n := range bd.net.nexuses {
					l.attn[n.port()] = backends.Sense{Valid: true, Key: 6, ASC: 0x38, ASCQ: 7}
				}
			})
			for i := range uint64(8) {
				mustOK(t, write(d, i*4096, 4096, 1))
			}
			time.Sleep(2 * time.Minute)
		}
		if n := len(bd.events.of(SpaceLow)); n != 2 || bd.used() != 4 || len(bd.events.of(PathDown)) != 0 {
			t.Errorf("told %d times; %+v", n, bd.m.Paths())
		}
	})
}

// TestP12CompareLimit: what the paths take at once of COMPARE AND WRITE is told, so that
// a longer one is not cut, nor sent to be refused.
func TestP12CompareLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		info := d.Info()
		if !info.Caps.Has(backends.CanCompareAndWrite) || info.MaxCompare != 8*info.LogicalBlock {
			t.Fatalf("%+v", info)
		}
		n := uint64(info.MaxCompare) + uint64(info.LogicalBlock)
		c := newCall(backends.CompareAndWrite, 0, n, 0)
		do(d, c)
		if res := c.wait(); res.Class != backends.IllegalRequest || res.Sent != backends.SentNone {
			t.Errorf("a longer one: %+v", res)
		}
	})
}
