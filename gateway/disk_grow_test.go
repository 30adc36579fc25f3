// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"

	"pathgate/backends"
	"pathgate/gateway/scsi"
	spc "pathgate/internal/scsi"
)

// growing is a device whose size changes.
type growing struct {
	*limited
	watchers backends.Watchers
}

func (g *growing) Watch(fn func(backends.Change)) (stop func()) { return g.watchers.Watch(fn) }

func (g *growing) become(size uint64) {
	g.info.Size = size
	g.watchers.Tell(backends.SizeChanged)
}

// ended is a Completer that does nothing: the commands here end at once.
type ended struct{}

func (ended) CommandDone(*backends.Batch, *scsi.Command) {}

// TestH11GrowthReachesInitiators: a LUN that grows makes the disk on all of it grow, and
// each initiator is told so once, by 2A/09; a disk on a part of it stays as it is.
func TestH11GrowthReachesInitiators(t *testing.T) {
	for name, tt := range map[string]struct {
		length uint64
		blocks uint64 // after the growth
	}{"all of the LUN": {0, 4096}, "a part": {1 << 20, 2048}} {
		t.Run(name, func(t *testing.T) {
			dev := &growing{limited: newLimited(t, 2<<20, 0, 0)}
			dev.info.Size = 1 << 20
			d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: tt.length}}})
			if err := d.Attach("a", newTestRouter(t, dev)); err != nil {
				t.Fatal(err)
			}
			u := must[*scsi.Unit](t)(scsi.NewUnit(scsi.UnitConfig{Device: d}))
			target := must[*scsi.Target](t)(scsi.NewTarget(scsi.TargetConfig{Name: "iqn.2026-11.test:vm1", Ports: []scsi.Port{{Relative: 1}}}))
			if err := target.Add(0, scsi.Mapping{Unit: u}); err != nil {
				t.Fatal(err)
			}
			var nexuses []*scsi.Nexus
			for range 2 {
				nexuses = append(nexuses, must[*scsi.Nexus](t)(target.Open(scsi.NexusConfig{Port: 1})))
			}
			run := func(n *scsi.Nexus, cdb spc.CDB, in uint32) (spc.SenseCode, []byte) {
				cmd := &scsi.Command{CDB: cdb, Read: in > 0, Expected: in, Completer: ended{}}
				var b backends.Batch
				if n.Begin(cmd) {
					n.Submit(&b, []*scsi.Command{cmd})
					b.Run()
				}
				if cmd.Status != spc.StatusGood {
					return must[spc.Sense](t)(spc.DecodeSense(cmd.Sense)).Code(), nil
				}
				return spc.CodeNone, cmd.In.Bytes()
			}
			for _, n := range nexuses {
				run(n, spc.CDB{}, 0) // the login's unit attention
			}
			dev.become(2 << 20)
			for _, n := range nexuses {
				want := []spc.SenseCode{spc.CodeCapacityChanged, spc.CodeNone}
				if tt.length > 0 {
					want = want[1:]
				}
				for _, code := range want {
					if got, _ := run(n, spc.CDB{}, 0); got != code {
						t.Errorf("TEST UNIT READY: %v, want %v", got, code)
					}
				}
				var cdb [16]byte
				spc.ReadCapacity16{AllocationLength: 32}.Encode(&cdb)
				code, data := run(n, cdb, 32)
				if c := must[spc.Capacity](t)(spc.DecodeCapacity16(data)); code != spc.CodeNone || c.Blocks != tt.blocks {
					t.Errorf("READ CAPACITY: %v, %d blocks, want %d", code, c.Blocks, tt.blocks)
				}
				code, _ = run(n, spc.CDB{byte(spc.OpRead10), 0, 0, 0, 0x0f, 0xff, 0, 0, 1}, 512)
				if read := code == spc.CodeNone; read != (tt.blocks == 4096) {
					t.Errorf("READ of the last new block: %v", code)
				}
			}
			u.Close()
		})
	}
}
