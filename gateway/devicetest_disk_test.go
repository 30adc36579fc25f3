// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

// TestDiskContract runs the contract on a disk over one device, and on one of
// extents of two devices with small limits, whose requests are cut and paced.
func TestDiskContract(t *testing.T) {
	t.Run("one device", func(t *testing.T) {
		devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
			m, err := backends.NewMemory(8 << 20)
			if err != nil {
				t.Fatal(err)
			}
			hold := backends.NewHoldFault(m)
			t.Cleanup(func() { _ = hold.Close() })
			d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Offset: 1 << 20}}})
			if err := d.Attach("a", newTimedRouter(t, hold)); err != nil {
				t.Fatal(err)
			}
			return &closing{d, hold}, devicetest.Hooks{Cut: func() { hold.Hold(nil) }, Heal: hold.Release}
		})
	})
	t.Run("extents of two devices", func(t *testing.T) {
		devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
			d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
				{Ref: "a", Offset: 4096, Length: 300 << 10},
				{Ref: "b", Offset: 512, Length: 700 << 10},
				{Ref: "a", Offset: 512 << 10},
			}})
			for ref, l := range map[string]*small{
				"a": newSmall(t, 1<<20, 64<<10, 128<<10), "b": newSmall(t, 2<<20, 48<<10, 32<<10),
			} {
				if err := d.Attach(ref, newTimedRouter(t, l)); err != nil {
					t.Fatal(err)
				}
			}
			return d, devicetest.Hooks{}
		})
	})
}

// closing is a disk that has its device closed with it: a disk's Close waits for
// the devices below to end what is outstanding, which their owner closes.
type closing struct {
	*Disk
	below backends.Device
}

func (c *closing) Close() error {
	if err := c.below.Close(); err != nil {
		return err
	}
	return c.Disk.Close()
}

// small is a memory device with limits.
type small struct {
	*backends.Memory
	info backends.Info
}

func newSmall(t *testing.T, size uint64, transfer uint32, zeroes uint64) *small {
	t.Helper()
	m, err := backends.NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	l := &small{Memory: m, info: m.Info()}
	l.info.MaxTransfer, l.info.MaxZeroes, l.info.MaxUnmap = transfer, zeroes, zeroes
	return l
}

func (l *small) Info() backends.Info { return l.info }

// Submit refuses what is above the limits.
func (l *small) Submit(b *backends.Batch, reqs []*backends.Request) {
	for i, r := range reqs {
		if res := l.info.Check(r); !res.OK() {
			b.Complete(r, res)
			continue
		}
		l.Memory.Submit(b, reqs[i:i+1])
	}
}
