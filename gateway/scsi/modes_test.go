// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"slices"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// page reads a mode page.
func (c *client) page(size int, control scsi.PageControl, page scsi.ModePage) []byte {
	c.tb.Helper()
	x := cdb(scsi.ModeSense{Size: size, Control: control, Page: page, AllocationLength: 255})
	data, err := scsi.DecodeModeData(c.good(x, nil, 255), size)
	if err != nil {
		c.tb.Fatal(err)
	}
	p := data.Page(page, 0)
	if p == nil {
		c.tb.Fatalf("mode page %02x is missing", page)
	}
	return slices.Clone(p)
}

// selectPage makes a MODE SELECT of pages.
func selectPage(size int, pages ...byte) (scsi.CDB, []byte) {
	header := make([]byte, 4)
	if size == 10 {
		header = make([]byte, 8)
	}
	list := append(header, pages...)
	return cdb(scsi.ModeSelect{Size: size, PageFormat: true, ParameterListLength: uint16(len(list))}), list
}

// TestModeSelect: each bit that may be changed works, is told the other nexuses,
// and is gone after a reset.
func TestModeSelect(t *testing.T) {
	for _, size := range []int{6, 10} {
		x := newBed(t, UnitConfig{})
		a, o := x.open(0, 1), x.open(1, 1)
		p := a.page(size, scsi.CurrentValues, scsi.ControlMode)
		p[2] |= controlSense
		p[4] |= controlProtect
		p[5] |= controlAborted
		sel, list := selectPage(size, p...)
		a.good(sel, list, 0)
		if got := a.page(size, scsi.CurrentValues, scsi.ControlMode); !bytes.Equal(got, p) {
			t.Errorf("page %x, want %x", got, p)
		}
		cmd := o.do(tur(), nil, 0)
		if s := senseOf(t, cmd); !s.Is(scsi.CodeModeParametersChanged) || cmd.Sense[0]&0x7f != 0x72 {
			t.Errorf("the other nexus: %v in format %02x", s, cmd.Sense[0])
		}
		a.fails(scsi.CodeSoftwareWriteProtected, writeCDB(0, 1), pattern(1, 512), 0)
		a.good(readCDB(0, 1), nil, 512)
		done, _ := doneOf(t)
		a.n.LogicalUnitReset(&a.batch, scsi.LUN(0).Field(), done)
		a.batch.Run()
		cmd = a.do(tur(), nil, 0)
		if cmd.Sense[0]&0x7f != 0x70 {
			t.Errorf("sense format %02x after a reset", cmd.Sense[0])
		}
		a.good(writeCDB(0, 1), pattern(1, 512), 0)
		if got := a.page(size, scsi.CurrentValues, scsi.ControlMode); !bytes.Equal(got, a.page(size, scsi.DefaultValues, scsi.ControlMode)) {
			t.Errorf("page %x after a reset", got)
		}
	}
}

// TestB26ModeSelect: nothing of a list that is wrong takes effect.
func TestB26ModeSelect(t *testing.T) {
	x := newBed(t, UnitConfig{})
	c := x.open(0, 1)
	control := c.page(6, scsi.CurrentValues, scsi.ControlMode)
	good := slices.Clone(control)
	good[4] |= controlProtect
	change := func(at int, to byte) []byte {
		p := slices.Clone(control)
		p[at] = to
		return append(slices.Clone(good), p...)
	}
	tests := []struct {
		name  string
		pages []byte
		want  scsi.SenseCode
	}{
		{"a bit that is fixed", change(3, 0x20), scsi.CodeInvalidFieldInParameters},
		{"another page length", change(1, 4), scsi.CodeInvalidFieldInParameters},
		{"an unknown page", change(0, 0x3e), scsi.CodeInvalidFieldInParameters},
		{"a subpage", change(0, 0x4a), scsi.CodeInvalidFieldInParameters},
		{"a cut page", change(0, 0x0a)[:20], scsi.CodeParameterListLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sel, list := selectPage(6, tt.pages...)
			cmd := c.do(sel, list, 0)
			s := senseOf(t, cmd)
			if !s.Is(tt.want) && !s.Is(scsi.CodeParameterListLength) || x.unit.modes.writeProtected {
				t.Errorf("%v, write-protected %v, want %v", s, x.unit.modes.writeProtected, tt.want)
			}
		})
	}
	saved := cdb(scsi.ModeSelect{PageFormat: true, SavePages: true})
	c.fails(scsi.CodeInvalidFieldInCDB, saved, nil, 0)
	c.fails(scsi.CodeSavingNotSupported, cdb(scsi.ModeSense{Control: scsi.SavedValues, Page: scsi.ControlMode, AllocationLength: 64}), nil, 64)
	c.fails(scsi.CodeInvalidFieldInCDB, cdb(scsi.ModeSense{Page: 0x3e, AllocationLength: 64}), nil, 64)
	block := append([]byte{0, 0, 0, 8}, 0, 0, 0, 0, 0, 0, 0x10, 0)
	c.fails(scsi.CodeInvalidFieldInParameters, cdb(scsi.ModeSelect{PageFormat: true, ParameterListLength: 12}), block, 0)
	block[10] = 2
	c.good(cdb(scsi.ModeSelect{PageFormat: true, ParameterListLength: 12}), block, 0)
}

// recorder is a memory disk that remembers requests.
type recorder struct {
	*limited
	ops  []backends.Op
	fuas []bool
}

func (d *recorder) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		d.ops, d.fuas = append(d.ops, r.Op), append(d.fuas, r.FUA)
	}
	d.limited.Submit(b, reqs)
}

// TestP2CacheTruth: WCE and the pages tell what the device's cache is; FUA and
// SYNCHRONIZE CACHE reach the device; without WCE every write is durable.
func TestP2CacheTruth(t *testing.T) {
	for mode, want := range map[backends.CacheMode]struct{ wce, volatile, protected bool }{
		backends.CacheNone:      {false, false, false},
		backends.CacheVolatile:  {true, true, false},
		backends.CacheProtected: {true, false, true},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			d := &recorder{limited: newLimited(t, func(i *backends.Info) { i.WriteCache = mode })}
			c := newBed(t, UnitConfig{Device: d}).open(0, 1)
			caching := c.page(6, scsi.CurrentValues, scsi.CachingMode)
			if got := caching[2]&cachingWrite != 0; got != want.wce {
				t.Errorf("WCE %v, want %v", got, want.wce)
			}
			e, err := scsi.DecodeExtendedInquiry(c.vpd(scsi.PageExtendedInquiry))
			if err != nil || e.VolatileCache != want.volatile || e.NonVolatileCache != want.protected {
				t.Errorf("page 86h: %+v, %v", e, err)
			}
			c.good(cdb(scsi.ReadWrite{Write: true, Blocks: 1, FUA: true}), pattern(1, 512), 0)
			c.good(writeCDB(0, 1), pattern(1, 512), 0)
			c.good(cdb(scsi.SynchronizeCache{}), nil, 0)
			if !slices.Equal(d.ops, []backends.Op{backends.Write, backends.Write, backends.Flush}) || !slices.Equal(d.fuas[:2], []bool{true, false}) {
				t.Errorf("requests %v, FUA %v", d.ops, d.fuas)
			}
			caching[2] ^= cachingWrite
			sel, list := selectPage(6, caching...)
			if !want.wce {
				c.fails(scsi.CodeInvalidFieldInParameters, sel, list, 0)
				return
			}
			d.ops = nil
			c.good(sel, list, 0)
			if !slices.Equal(d.ops, []backends.Op{backends.Flush}) {
				t.Errorf("WCE is cleared by %v, want a flush of what was cached", d.ops)
			}
			c.good(writeCDB(0, 1), pattern(1, 512), 0)
			if !d.fuas[len(d.fuas)-1] {
				t.Error("a write without WCE is not durable")
			}
			d.ops = nil
			c.good(cdb(scsi.ReadWrite{Blocks: 1, FUA: true}), nil, 512)
			if flushed := slices.Contains(d.ops, backends.Flush); flushed != want.volatile {
				t.Errorf("READ with FUA: %v", d.ops)
			}
		})
	}
}

// TestP2CacheComes: a device that has a cache from some time on is one with WCE, and
// the initiators are told; its writes are not said to be through while they are not.
func TestP2CacheComes(t *testing.T) {
	d := &changing{Memory: memory(t, 1<<20)}
	d.info = d.Memory.Info()
	d.info.WriteCache = backends.CacheNone
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	wce := func() bool { return c.page(6, scsi.CurrentValues, scsi.CachingMode)[2]&cachingWrite != 0 }
	if wce() {
		t.Error("WCE without a cache")
	}
	d.become(backends.CapsChanged, func(i *backends.Info) { i.WriteCache = backends.CacheVolatile })
	c.fails(scsi.CodeModeParametersChanged, tur(), nil, 0)
	c.fails(scsi.CodeInquiryChanged, tur(), nil, 0)
	if !wce() {
		t.Error("no WCE with a cache: an initiator would never flush it")
	}
	sel, list := selectPage(6, scsi.CachingPage{}.Append(nil)...)
	c.good(sel, list, 0)
	d.become(backends.CapsChanged, func(i *backends.Info) { i.Caps |= backends.ReadOnly })
	c.fails(scsi.CodeModeParametersChanged, tur(), nil, 0)
	c.fails(scsi.CodeInquiryChanged, tur(), nil, 0)
	if wce() {
		t.Error("WCE is set again by itself")
	}
}

// TestSoftwareWriteProtect: what is in the cache goes to the medium before (SPC-4, SWP).
func TestSoftwareWriteProtect(t *testing.T) {
	d := &recorder{limited: newLimited(t, func(i *backends.Info) { i.WriteCache = backends.CacheVolatile })}
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	p := c.page(6, scsi.CurrentValues, scsi.ControlMode)
	p[4] |= controlProtect
	sel, list := selectPage(6, p...)
	c.good(sel, list, 0)
	c.good(sel, list, 0)
	if !slices.Equal(d.ops, []backends.Op{backends.Flush}) {
		t.Errorf("requests %v, want one flush", d.ops)
	}
}

// TestModeSubpages: all subpages of a page are the page, of which there is no other.
func TestModeSubpages(t *testing.T) {
	c := newBed(t, UnitConfig{}).open(0, 1)
	for _, page := range append(modePages(), scsi.AllModePages) {
		ask := scsi.ModeSense{Size: 10, Page: page, AllocationLength: 255}
		want := c.good(cdb(ask), nil, 255)
		ask.Subpage = scsi.AllModeSubpages
		if got := c.good(cdb(ask), nil, 255); !bytes.Equal(got, want) {
			t.Errorf("page %02x: %x, want %x", page, got, want)
		}
		ask.Subpage = 1
		c.fails(scsi.CodeInvalidFieldInCDB, cdb(ask), nil, 255)
	}
}

// TestReadOnly: by the device, the unit, and the mapping.
func TestReadOnly(t *testing.T) {
	device := newLimited(t, func(i *backends.Info) { i.Caps |= backends.ReadOnly })
	beds := map[string]*bed{"device": newBed(t, UnitConfig{Device: device}), "unit": newBed(t, UnitConfig{ReadOnly: true})}
	mapped := newBed(t, UnitConfig{})
	target, err := NewTarget(TargetConfig{Name: targetName, Ports: []Port{{Relative: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Add(0, Mapping{Unit: mapped.unit, ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	beds["mapping"] = &bed{t, target, mapped.unit}
	for name, x := range beds {
		t.Run(name, func(t *testing.T) {
			port := x.target.cfg.Ports[0].Relative
			c := x.open(0, port)
			c.good(readCDB(0, 1), nil, 512)
			block := pattern(1, 512)
			for _, w := range []scsi.CDB{
				writeCDB(0, 1), cdb(scsi.Verify{Write: true, Blocks: 1}), cdb(scsi.WriteSame{Blocks: 1}), cdb(scsi.WriteAtomic{Blocks: 1}),
			} {
				c.fails(scsi.CodeWriteProtected, w, block, 0)
			}
			c.fails(scsi.CodeWriteProtected, cdb(scsi.WriteSame{Blocks: 1, Unmap: true}), nil, 0)
			c.fails(scsi.CodeWriteProtected, cdb(scsi.CompareAndWrite{Blocks: 1}), pattern(1, 1024), 0)
			c.fails(scsi.CodeWriteProtected, cdb(scsi.Unmap{ParameterListLength: 8}), make([]byte, 8), 0)
			data, err := scsi.DecodeModeData(c.good(cdb(scsi.ModeSense{Page: scsi.AllModePages, AllocationLength: 255}), nil, 255), 6)
			if err != nil || !data.WriteProtected {
				t.Errorf("WP is not set, %v", err)
			}
		})
	}
}
