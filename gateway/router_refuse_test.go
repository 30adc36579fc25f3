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
		l.obs.Refusing(&b, true) // the time of the rule is over
		b.Run()
		if waits.ends != 1 || waits.res.Class != backends.NoPath {
			t.Errorf("what waited: %d ends, %v", waits.ends, waits.res)
		}
		if p := start(d, backends.Read, 0, 4096, nil); p.ends != 1 || p.res.Class != backends.NoPath {
			t.Errorf("what came then: %d ends, %v", p.ends, p.res)
		}
		l.down.Store(false)
		l.obs.Refusing(&b, false)
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
