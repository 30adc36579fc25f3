// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// downLUN is a LUN as multipath has it: with no path left it ends with NoPath
// what it is given.
type downLUN struct {
	*backends.Memory
	obs  backends.Observer
	down atomic.Bool
}

func (l *downLUN) Observe(o backends.Observer) {
	l.obs = o
	var b backends.Batch
	o.CapacityChanged(&b, 2, 2)
	b.Run()
}

func (l *downLUN) Submit(b *backends.Batch, reqs []*backends.Request) {
	if !l.down.Load() {
		l.Memory.Submit(b, reqs)
		return
	}
	for _, r := range reqs {
		b.Complete(r, backends.Failed(backends.NoPath))
	}
}

// TestRuleOfNoPathReachesQueuedRequests: requests wait for a path in the scheduler
// only until the device's rule says that they do so in vain.
func TestRuleOfNoPathReachesQueuedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := backends.NewMemory(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		l := &downLUN{Memory: m}
		rt := NewRouter(l, RouterOptions{Device: ShareDevice{Name: "lun"}})
		d := NewDisk(DiskSpec{VM: "vm", Name: "root", Pieces: []PieceSpec{{Ref: "lun"}}})
		if err := d.Attach("lun", rt); err != nil {
			t.Fatal(err)
		}
		l.down.Store(true)
		var b backends.Batch
		l.obs.CapacityChanged(&b, 0, 2)
		b.Run()
		waits := start(d, backends.Read, 0, 4096, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if waits.ends != 0 {
			t.Fatalf("a request did not wait for a path: %v", waits.res)
		}
		l.obs.Refusing(&b, backends.WaitForever) // the time of the rule is over
		b.Run()
		if waits.ends != 1 || waits.res.Class != backends.NoPath {
			t.Errorf("what waited: %d ends, %v", waits.ends, waits.res)
		}
		if p := start(d, backends.Read, 0, 4096, nil); p.ends != 1 || p.res.Class != backends.NoPath {
			t.Errorf("what came then: %d ends, %v", p.ends, p.res)
		}
		l.down.Store(false)
		l.obs.Refusing(&b, 0)
		l.obs.CapacityChanged(&b, 1, 2)
		b.Run()
		if p := start(d, backends.Read, 0, 4096, nil); p.ends != 1 || !p.res.OK() {
			t.Errorf("with a path again: %d ends, %v", p.ends, p.res)
		}
		rt.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPA12DisksOfOneLUNWaitEachItsTime: of what waits in the scheduler only the requests
// of the disk whose time is over are handed down, also when both disks are one VM's and
// so in one flow; the other's wait on, and go out with the path.
func TestPA12DisksOfOneLUNWaitEachItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := backends.NewMemory(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		l := &downLUN{Memory: m}
		rt := NewRouter(l, RouterOptions{Device: ShareDevice{Name: "lun"}})
		const short, long = backends.PathWait(25 * time.Second), backends.PathWait(140 * time.Second)
		disk := func(vm, name string, w backends.PathWait) *Disk {
			d := NewDisk(DiskSpec{VM: vm, Name: name, Pieces: []PieceSpec{{Ref: "lun"}}})
			d.setWait("lun", w)
			if err := d.Attach("lun", rt); err != nil {
				t.Fatal(err)
			}
			return d
		}
		hasty, patient, other := disk("vm1", "hasty", short), disk("vm1", "patient", long), disk("vm2", "root", backends.WaitForever)
		var b backends.Batch
		l.obs.CapacityChanged(&b, 0, 2)
		b.Run()
		l.down.Store(true)
		var ends, stay []*pending
		for range 4 {
			stay = append(stay, start(patient, backends.Read, 0, 4096, nil), start(other, backends.Read, 0, 4096, nil))
			ends = append(ends, start(hasty, backends.Read, 0, 4096, nil))
		}
		l.obs.Refusing(&b, short)
		b.Run()
		ends = append(ends, start(hasty, backends.Read, 0, 4096, nil))
		stay = append(stay, start(patient, backends.Read, 0, 4096, nil))
		synctest.Wait()
		for i, c := range ends {
			if c.ends != 1 || c.res.Class != backends.NoPath {
				t.Errorf("of the disk whose time is over, %d: %d ends, %v", i, c.ends, c.res)
			}
		}
		for i, c := range stay {
			if c.ends != 0 {
				t.Errorf("of the others, %d: %v", i, c.res)
			}
		}
		l.down.Store(false)
		l.obs.Refusing(&b, 0)
		l.obs.CapacityChanged(&b, 1, 2)
		b.Run()
		time.Sleep(time.Second)
		synctest.Wait()
		for i, c := range stay {
			if c.ends != 1 || !c.res.OK() {
				t.Errorf("of the others with a path again, %d: %d ends, %v", i, c.ends, c.res)
			}
		}
		rt.Close()
		for _, d := range []*Disk{hasty, patient, other} {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
