// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// H5: the LUN is exchanged after INQUIRY was answered and before the proof ends. The
// unit attention comes with READ CAPACITY; what INQUIRY said is out of date then.
func TestH05ExchangedDuringTheProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, func(c *Config) { c.Adapters = c.Adapters[:2] })
		defer bd.stop()
		mark, name := len(bd.events.all()), bd.device().Name()
		bd.net.with(func() {
			l.sizing = func() {
				l.sizing = nil
				l.id = naa(2)
				for _, c := range l.srv.conns {
					l.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x3f, ASCQ: 0x0e}
				}
			}
		})
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(time.Second)
		bad := ""
		for _, e := range bd.events.all()[mark:] {
			switch {
			case e.Kind == PathDown:
				bad = e.Path
			case e.Kind == PathUp && e.Path == bad && e.Device == name:
				t.Errorf("used without a proof: %+v", e)
			}
		}
		for _, p := range bd.m.Paths() {
			if p.Name == bad && p.Device == name {
				t.Errorf("the path is %s, and the device's still", p.Health)
			}
		}
	})
}

// Rule 12: one unit attention per path is that of our own reset, if it comes soon. A
// process that the reset has not reached sends none, and its next one is a real one.
func TestOwnResetExplainsNoLaterAttention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := oneName(t, func(c *Config) { c.Adapters = c.Adapters[:1] })
		d := bd.device()
		a.stop()
		mustOK(t, through(t, bd))
		a.cont()
		time.Sleep(time.Minute) // fenced at a, and back in use
		p := d.path("vmhba0:1:1")
		var batch backends.Batch
		p.port.UnitAttention(&batch, p.sess, backends.Sense{Valid: true, Key: 6, ASC: 0x29})
		d.mu.Lock()
		proving := p.proving
		d.mu.Unlock()
		if !proving {
			t.Error("a reset by somebody else asks for no proof")
		}
		batch.Run()
		synctest.Wait()
		if n := bd.used(); n != 2 {
			t.Errorf("%d paths in use", n)
		}
		bd.stop()
	})
}

// The ghosts of a device with a weak identity are found again by the next run, and
// nothing of them stays in the store.
func TestWeakGhostsAreFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, "10.0.0.1:3260")
		l := s.addLUN(1, newMedium(), scsi.T10Designator("IET", "00010001"))
		one := func(c *Config) { c.Adapters = c.Adapters[:1] }
		bd.start(one)
		d := bd.device()
		if !d.identity.Weak {
			t.Fatal("this identity should be weak")
		}
		bd.net.with(func() { l.delay = slow(10 * time.Second) })
		w1 := write(d, 0, 4096, 1)
		bd.net.cut("10.0.0.1:3260")
		synctest.Wait()
		crash := bd.store.clone()
		ranges := 0
		for _, g := range crash.ghosts {
			if g.Device != d.key {
				t.Errorf("the record is under %q, not %q", g.Device, d.key)
			}
			if !g.Whole {
				ranges++
			}
		}
		if ranges != 1 {
			t.Errorf("%d ghosts in the store: %+v", ranges, crash.ghosts)
		}
		bd.net.mend("10.0.0.1:3260")
		mustOK(t, w1)
		bd.stop()
		bd.store = crash
		bd.start(func(c *Config) { one(c); c.Run = 2 })
		mustOK(t, write(bd.device(), 0, 4096, 2))
		bd.stop()
		if n := len(crash.ghosts); n != 0 {
			t.Errorf("%d records are left: %+v", n, crash.ghosts)
		}
	})
}
