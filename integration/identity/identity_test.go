// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/scripted"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
	"pathgate/multipath"
)

// two makes a unit behind two portals, as two units that say the same, and a
// manager that uses both.
func two(t *testing.T, o options) (*rig, *scripted.Target, [2]*scripted.Unit) {
	t.Helper()
	a := scripted.NewUnit(1 << 20)
	b := a.Twin()
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Digests: true})
	tg.MapAt(0, 1, a)
	tg.MapAt(1, 1, b)
	r := start(t, o, tg.Addresses()...)
	r.up(2)
	return r, tg, [2]*scripted.Unit{a, b}
}

// TestB37Identity (P7, H5): what a path says of itself is wrong in some way after it
// was cut. Nothing is read or written there, an alarm names the reason, and the other
// path carries on.
func TestB37Identity(t *testing.T) {
	long := append([]byte{0, 0x83, 0xff, 0xff}, make([]byte, 300)...)
	for name, tt := range map[string]struct {
		change func(u *scripted.Unit)
		reason string
	}{
		"another identity":      {func(u *scripted.Unit) { u.Designators = []scsi.Designator{scsi.NAARegistered(0x001405, 1, 1)} }, "identity"},
		"empty page 83":         {func(u *scripted.Unit) { u.Page83, u.Serial = []byte{0, 0x83, 0, 0}, "" }, ""},
		"oversized page 83":     {func(u *scripted.Unit) { u.Page83, u.Serial = long, "" }, ""},
		"cut page 83":           {func(u *scripted.Unit) { u.Page83, u.Serial = []byte{0, 0x83, 0}, "" }, ""},
		"another serial":        {func(u *scripted.Unit) { u.Serial = "x" }, "serial"},
		"another vendor":        {func(u *scripted.Unit) { u.Vendor = "OTHER" }, "vendor"},
		"another product":       {func(u *scripted.Unit) { u.Product = "OTHER" }, "product"},
		"no capacity":           {func(u *scripted.Unit) { u.Size = 0 }, "capacity"},
		"smaller":               {func(u *scripted.Unit) { u.Size /= 2 }, "size"},
		"larger, after a login": {func(u *scripted.Unit) { u.Size *= 2 }, "size"},
		"another block size":    {func(u *scripted.Unit) { u.Block = 4096 }, "block size"},
		"block size 0":          {func(u *scripted.Unit) { u.Block = 0 }, ""},
		"block size 100":        {func(u *scripted.Unit) { u.Block = 100 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, tg, u := two(t, options{})
			d := r.device()
			wrong := scripted.NewMedium(1 << 20)
			u[0].Set(func(x *scripted.Unit) { x.Medium = wrong; tt.change(x) })
			tg.Cut(0)
			r.poll("quarantine", func() bool { return r.path("vmhba0:0:1").Health == "quarantined" })
			if got := r.path("vmhba0:0:1").Reason; !strings.Contains(got, tt.reason) {
				t.Errorf("reason %q, want %q in it", got, tt.reason)
			}
			for i := range 8 {
				if res := r.write(d, i*4096, pattern(4096, byte(i))); !res.OK() {
					t.Fatalf("%+v", res)
				}
				if got, res := r.read(d, i*4096); !res.OK() || !bytes.Equal(got, pattern(4096, byte(i))) {
					t.Fatalf("%+v", res)
				}
			}
			if wrong.Writes()+wrong.Reads() != 0 {
				t.Errorf("%d writes and %d reads of the wrong medium", wrong.Writes(), wrong.Reads())
			}
			if d.Info().Size != 1<<20 || d.Info().LogicalBlock != 512 || !d.Info().Available {
				t.Errorf("info %+v", d.Info())
			}
		})
	}
}

// TestB37Duplicate: two LUNs of one target with one identity are one device with two
// paths, as two ports of an array are, unless something else tells them apart.
func TestB37Duplicate(t *testing.T) {
	for name, change := range map[string]func(u *scripted.Unit){
		"serial": func(u *scripted.Unit) { u.Serial = "other" },
		"size":   func(u *scripted.Unit) { u.Size /= 2 },
	} {
		t.Run(name, func(t *testing.T) {
			a := scripted.NewUnit(1 << 20)
			b := a.Twin()
			b.Medium = scripted.NewMedium(1 << 20)
			b.Set(change)
			tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: a, 2: b}})
			r := start(t, options{}, tg.Addresses()...)
			r.poll("quarantine of both", func() bool {
				return r.path("vmhba0:0:1").Health == "quarantined" && r.path("vmhba0:0:2").Health == "quarantined"
			})
			if a.Medium.Writes()+b.Medium.Writes() != 0 {
				t.Error("written")
			}
		})
	}
}

// TestB38Lists: REPORT LUNS that lies is bounded by the range that may be looked at.
func TestB38Lists(t *testing.T) {
	header := func(n uint32, rest ...scsi.LUNField) []byte {
		b := binary.BigEndian.AppendUint32(nil, n)
		b = append(b, 0, 0, 0, 0)
		for _, f := range rest {
			b = append(b, f[:]...)
		}
		return b
	}
	one := scsi.LUN(1).Field()
	for name, list := range map[string][]byte{
		"nothing":        {},
		"no entries":     header(0),
		"length lies":    header(1<<31, one),
		"odd length":     header(13, one),
		"duplicates":     header(24, one, one, one),
		"many":           header(8<<20, append([]scsi.LUNField{one}, many(4095)...)...),
		"out of range":   header(16, one, scsi.LUN(9000).Field()),
		"odd addressing": header(16, one, scsi.LUNField{0xff, 0xff, 1, 2, 3, 4, 5, 6}),
	} {
		t.Run(name, func(t *testing.T) {
			u := scripted.NewUnit(1 << 20)
			tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: u}})
			tg.ListLUNs(func([]scsi.LUNField) []byte { return list })
			r := start(t, options{change: func(c *multipath.Config) { c.Targets[0].LastLUN = 15 }}, tg.Addresses()...)
			if name == "no entries" { // it is believed: nothing is there
				r.poll("scan", func() bool { return tg.Stats(0).Commands[scsi.OpReportLUNs] > 0 })
				return
			}
			r.up(1)
			if n := tg.Stats(0).Commands[scsi.OpInquiry]; n > 100 {
				t.Errorf("%d inquiries for 16 LUNs", n)
			}
		})
	}
}

func many(n int) (list []scsi.LUNField) {
	for i := range n {
		list = append(list, scsi.LUN(i).Field())
	}
	return list
}

// TestB39Attentions: each unit attention has its check made once, and none reaches
// the client; a storm on one path fails the path.
func TestB39Attentions(t *testing.T) {
	for _, code := range []scsi.SenseCode{
		scsi.CodeResetOccurred, scsi.CodeDeviceReset, scsi.CodeAccessStateChanged, scsi.CodeCapacityChanged,
		scsi.CodeInquiryChanged, scsi.CodeReportedLUNsChanged, scsi.CodeCommandsClearedByOther,
	} {
		t.Run(code.String(), func(t *testing.T) {
			r, tg, u := two(t, options{})
			d := r.device()
			before := tg.Stats(0).Commands[scsi.OpServiceActionIn16]
			u[0].Raise(code)
			for i := range 16 {
				if res := r.write(d, i*4096, pattern(4096, 1)); !res.OK() {
					t.Fatalf("%+v", res)
				}
			}
			r.up(2)
			want := 1
			if code == scsi.CodeCommandsClearedByOther {
				want = 0 // nothing to look at
			}
			if code == scsi.CodeReportedLUNsChanged {
				want = 2 // by the scan, and the path's own
			}
			if got := tg.Stats(0).Commands[scsi.OpServiceActionIn16] - before; got > want || want > 0 && got == 0 {
				t.Errorf("measured %d times, want %d", got, want)
			}
		})
	}
	t.Run("storm", func(t *testing.T) {
		r, tg, _ := two(t, options{})
		d := r.device()
		tg.On(scripted.Rule{Portals: []int{0}, Ops: scripted.Data, Do: scripted.Check(scsi.CodeModeParametersChanged)})
		for i := range 4 {
			if res := r.write(d, i*4096, pattern(4096, 1)); !res.OK() {
				t.Fatalf("%+v", res)
			}
		}
		r.poll("loss of the path", func() bool { return r.log.count(multipath.PathDown, "vmhba0:0:1") > 0 })
	})
}

// TestH11Growth: capacity that grows on one path before the other is used when both
// have it, and is told.
func TestH11Growth(t *testing.T) {
	r, _, u := two(t, options{})
	d := r.device()
	told := make(chan uint64, 10)
	defer d.Watch(func(c backends.Change) {
		if c&backends.SizeChanged != 0 {
			told <- d.Info().Size
		}
	})()
	u[0].Resize(2 << 20)
	r.rescan()
	if got := d.Info().Size; got != 1<<20 || r.used() != 2 {
		t.Fatalf("size %d with one path; %v", got, r.states())
	}
	if res := r.write(d, 1<<20, pattern(512, 1)); res.Class != backends.IllegalRequest {
		t.Errorf("beyond the end: %+v", res)
	}
	u[1].Resize(2 << 20)
	r.rescan()
	r.poll("growth", func() bool { return d.Info().Size == 2<<20 })
	if got := <-told; got != 2<<20 {
		t.Errorf("told %d", got)
	}
	r.up(2)
	for i := range 8 {
		if res := r.write(d, 1<<20+i*4096, pattern(4096, 1)); !res.OK() {
			t.Errorf("beyond the old end: %+v", res)
		}
	}
}

// TestP18Weakest: what is advertised is what all paths can do.
func TestP18Weakest(t *testing.T) {
	a := scripted.NewUnit(1 << 20)
	a.Thin = true
	b := a.Twin()
	b.Thin, b.FUA, b.ReadOnly = false, false, true
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}})
	tg.MapAt(0, 1, a)
	tg.MapAt(1, 1, b)
	r := start(t, options{}, tg.Addresses()...)
	r.up(2)
	caps := r.device().Info().Caps
	if caps.Has(backends.CanUnmap) || caps.Has(backends.CanFUA) || !caps.Has(backends.ReadOnly) {
		t.Errorf("caps %v", caps)
	}
}

// TestH10Unmap: UNMAP and WRITE SAME are in order with writes to the same blocks, also
// when a path is lost, and a full pool is no path fault.
func TestH10Unmap(t *testing.T) {
	for _, op := range []backends.Op{backends.Unmap, backends.WriteZeroes} {
		t.Run(op.String(), func(t *testing.T) {
			a := scripted.NewUnit(1 << 20)
			a.Thin = true
			tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: a}})
			r := start(t, options{}, tg.Addresses()...)
			r.up(2)
			d := r.device()
			gate := make(chan struct{})
			s := tg.On(scripted.Rule{Ops: []scsi.Opcode{scsi.OpUnmap, scsi.OpWriteSame16, scsi.OpWriteSame10}, Times: 1, Do: scripted.Held(gate)})
			_, zero := submit(d, op, 0, 65536, nil)
			r.poll(op.String(), func() bool { return s.Hits() > 0 })
			_, ch := submit(d, backends.Write, 4096, 4096, pattern(4096, 5))
			if res := r.write(d, 1<<19, pattern(4096, 1)); !res.OK() { // elsewhere: not held
				t.Errorf("%+v", res)
			}
			if len(ch) != 0 || !bytes.Equal(a.Medium.Bytes(4096, 4096), make([]byte, 4096)) {
				t.Error("a write has overtaken it")
			}
			close(gate)
			if res := r.wait(zero); !res.OK() {
				t.Errorf("%+v", res)
			}
			if res := r.wait(ch); !res.OK() || !bytes.Equal(a.Medium.Bytes(4096, 4096), pattern(4096, 5)) {
				t.Errorf("the write: %+v", res)
			}
			tg.On(scripted.Rule{Ops: scripted.Writes, Times: 1, Do: scripted.Check(scsi.CodeSpaceAllocationFailed)})
			if res := r.write(d, 0, pattern(4096, 1)); res.Class != backends.NoSpace || r.used() != 2 {
				t.Errorf("pool full: %+v; %v", res, r.states())
			}
		})
	}
}

// TestH15Digests: a bit flips on its way from the target. With CRC32C no bad byte is
// read; without, the reader's own check finds it.
func TestH15Digests(t *testing.T) {
	for _, tt := range []struct {
		mode iscsi.DigestMode
		bad  bool
	}{{iscsi.DigestPrefer, false}, {iscsi.DigestNone, true}} {
		t.Run(tt.mode.String(), func(t *testing.T) {
			r, tg, u := two(t, options{digest: tt.mode})
			d := r.device()
			want := pattern(4096, 3)
			u[0].Medium.Put(0, want)
			s := tg.On(scripted.Rule{Ops: scripted.Reads, Times: 1, Do: func(c *scripted.Command) {
				n := c.Numbers()
				c.JumpStatSN(1)
				p := wire.DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag, Numbers: n}
				c.Corrupt(p, want, false)
			}})
			got, res := r.read(d, 0)
			if !res.OK() || s.Hits() != 1 {
				t.Fatalf("%+v, %d hits", res, s.Hits())
			}
			if bytes.Equal(got, want) == tt.bad {
				t.Errorf("the bytes are wrong: %v, want %v", !tt.bad, tt.bad)
			}
			if lost := r.log.count(multipath.PathDown, "") > 0; lost == tt.bad {
				t.Errorf("the session was dropped: %v", lost)
			}
		})
	}
}

// TestB34Window: a window that stays closed is a path that fails, and no more.
func TestB34Window(t *testing.T) {
	a := scripted.NewUnit(1 << 20)
	good := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: a}})
	shut := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: a}})
	r := start(t, options{timers: func(m *multipath.Timers) { m.Command = 300 * time.Millisecond }}, good.Address(0), shut.Address(0))
	r.up(2)
	d := r.device()
	shut.Window(0)
	for i := range 64 {
		if res := r.write(d, i*4096, pattern(4096, byte(i))); !res.OK() {
			t.Fatalf("%d: %+v", i, res)
		}
	}
	if got := a.Medium.Bytes(63*4096, 4096); !bytes.Equal(got, pattern(4096, 63)) {
		t.Error("not written")
	}
}

// TestP08Read: a read gives the bytes of the blocks that were asked for, or an error:
// never short, never zero-filled (B31).
func TestP08Read(t *testing.T) {
	for name, lie := range map[string]scripted.Action{
		"no data, no residual":     (*scripted.Command).Good,
		"half, and no residual":    half(wire.Residual{}),
		"half, and a wrong one":    half(wire.Residual{Underflow: true, Count: 100}),
		"half, and it says so":     half(wire.Residual{Underflow: true, Count: 2048}),
		"half, and it says beyond": half(wire.Residual{Overflow: true, Count: 2048}),
		"gap": func(c *scripted.Command) {
			c.Send(wire.DataIn{ITT: c.ITT, TTT: wire.NoTag, BufferOffset: 2048}, make([]byte, 2048))
			c.Good()
		},
		"beyond": func(c *scripted.Command) {
			c.Send(wire.DataIn{ITT: c.ITT, TTT: wire.NoTag}, make([]byte, 8192))
			c.Good()
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := scripted.NewUnit(1 << 20)
			u.Medium.Put(0, pattern(4096, 3))
			tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: u}})
			r := start(t, options{}, tg.Addresses()...)
			r.up(2)
			tg.On(scripted.Rule{Ops: scripted.Reads, Times: 1, Do: lie})
			if got, res := r.read(r.device(), 0); !res.OK() || !bytes.Equal(got, pattern(4096, 3)) {
				t.Errorf("lied to once: %+v, %d bytes", res, len(got))
			}
		})
	}
}

func half(r wire.Residual) scripted.Action {
	return func(c *scripted.Command) {
		c.Send(wire.DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag, Residual: r}, make([]byte, 2048))
	}
}

// TestP12Torn (H9): a write of many blocks over a path that is lost between its
// Data-Out: each block is old or new, and when no retry heals it, it is the client of
// that request who is told.
func TestP12Torn(t *testing.T) {
	const n = 256 << 10
	u := scripted.NewUnit(1 << 20)
	u.Medium.Put(0, pattern(n, 1))
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: u}, Settings: func(s *wire.Settings) { s.MaxBurstLength = 65536 }})
	r := start(t, options{change: func(c *multipath.Config) {
		c.Rule = func(...string) multipath.Rule {
			return multipath.Rule{AllPathsDown: multipath.AllPathsDown{Fail: true}}
		}
	}}, tg.Addresses()...)
	r.up(1)
	d := r.device()
	s := tg.On(scripted.Rule{Ops: scripted.Writes, Do: func(c *scripted.Command) {
		c.Send(wire.R2T{ITT: c.ITT, TTT: 9, LUN: c.SCSICommand.LUN, BufferOffset: c.DataSegmentLength, DesiredDataTransferLength: 512}, nil)
		scripted.Reset(c)
	}})
	_, bad := submit(d, backends.Write, 0, n, pattern(n, 2))
	if res := r.wait(bad); res.OK() || res.Sent != backends.SentSome {
		t.Errorf("got %+v", res)
	}
	got := u.Medium.Bytes(0, n)
	for off := 0; off < n; off += 512 {
		b := got[off : off+512]
		if !bytes.Equal(b, pattern(n, 1)[off:off+512]) && !bytes.Equal(b, pattern(n, 2)[off:off+512]) {
			t.Fatalf("block %d is torn", off/512)
		}
	}
	s.Remove()
	r.up(1)
	if got, res := r.read(d, 0); !res.OK() || len(got) != 4096 {
		t.Errorf("another request: %+v", res)
	}
}

// TestP13Error: an error that no retry heals reaches the client of that request only.
func TestP13Error(t *testing.T) {
	r, tg, _ := two(t, options{})
	d := r.device()
	tg.On(scripted.Rule{
		Ops: scripted.Writes, Do: scripted.Check(scsi.CodeWriteError),
		Match: func(c *scripted.Command) bool {
			return binary.BigEndian.Uint64(c.CDB[2:]) == 8 || binary.BigEndian.Uint32(c.CDB[2:]) == 8
		},
	})
	var ends []<-chan backends.Result
	for i := range 4 {
		_, ch := submit(d, backends.Write, uint64(i)*4096, 4096, pattern(4096, 1))
		ends = append(ends, ch)
	}
	for i, ch := range ends {
		want := backends.OK
		if i == 1 {
			want = backends.Medium
		}
		if res := r.wait(ch); res.Class != want {
			t.Errorf("%d: %+v, want %v", i, res, want)
		}
	}
	if r.used() != 2 {
		t.Error(fmt.Sprint("a path was blamed: ", r.states()))
	}
}
