// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// masks gives the masked paths with their rules, "vmhba0:0:1=100"; those that have not
// left yet with a "!".
func (bd *bed) masks() string {
	var list []string
	for _, p := range bd.m.ClaimedPaths() {
		if p.Masked != 0 {
			s := fmt.Sprintf("%s=%d", p.Path, p.Masked)
			if p.Leaving {
				s += "!"
			}
			list = append(list, s)
		}
	}
	return strings.Join(list, " ")
}

func (bd *bed) wantMasks(want string) {
	bd.t.Helper()
	if got := bd.masks(); got != want {
		bd.t.Errorf("masked: got %q, want %q", got, want)
	}
}

// submits counts the requests that went over vmhba0 and the first portal to LUN 1.
func (bd *bed) submits() int {
	bd.net.mu.Lock()
	defer bd.net.mu.Unlock()
	for _, n := range bd.net.nexuses {
		if s := n.sessions[1]; n.conn.name == "vmhba0" && n.tp.Portal == portals(1)[0] && s != nil && !n.closed {
			return s.subs
		}
	}
	return 0
}

// asked counts the control commands that a LUN got, and its keys.
func (bd *bed) asked(l *fakeLUN) (all, inquiries, keys int) {
	bd.net.mu.Lock()
	defer bd.net.mu.Unlock()
	for _, n := range l.asked {
		all += n
	}
	return all, l.asked[scsi.OpInquiry], len(l.keys)
}

// TestMaskedAtStart: a LUN that is masked by what is known without it never gets a
// command; one that only INQUIRY can tell of gets nothing else; both come to life
// when the rule has gone, and neither is a device before.
func TestMaskedAtStart(t *testing.T) {
	for _, tt := range []struct {
		name, rule string
		ask        bool
	}{
		{"lun", "10 mask lun=2-3", false},
		{"path", "10 mask path=*:2", false},
		{"in doubt, but masked anyway", "10 mask lun=2", false},
		{"product", "10 mask product=SECRET", true},
		{"revision", "10 mask revision=1 lun=2", true},
		{"identity", "10 mask identity=" + naaName(2), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				s := bd.net.server(iqn, portals(1)...)
				s.addLUN(1, newMedium(), naa(1))
				hidden := s.addLUN(2, newMedium(), naa(2))
				hidden.product = "SECRET"
				bd.start(func(c *Config) { c.Claims = mustRules(t, tt.rule, "99 mask vendor=NOBODY") })
				defer bd.stop()
				bd.device()
				bd.wantMasks("vmhba0:0:2=10 vmhba1:0:2=10")
				all, inquiries, keys := bd.asked(hidden)
				if all != inquiries || keys != 0 || tt.ask != (all > 0) {
					t.Errorf("%d commands, %d of them INQUIRY, and %d keys", all, inquiries, keys)
				}
				events := bd.events.of(PathMasked)
				if len(events) != 2 || !strings.HasSuffix(events[0].Path, ":0:2") || events[0].Reason != "masked by rule 10" {
					t.Errorf("events %+v", events)
				}
				if err := bd.m.Rescan(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := len(bd.events.of(PathMasked)); n != 2 {
					t.Errorf("%d events after a rescan, want the 2 of before", n)
				}
				bd.m.SetClaims(ClaimRules{})
				time.Sleep(20 * time.Millisecond)
				if n := len(bd.m.Devices()); n != 2 || bd.used() != 4 {
					t.Errorf("%d devices, %d paths in use, want 2 and 4", n, bd.used())
				}
				bd.wantMasks("")
				if n := len(bd.events.of(PathUnmasked)); n != 2 {
					t.Errorf("%d events of the end, want 2", n)
				}
			})
		})
	}
}

func naaName(n uint64) string {
	id, err := scsi.SelectIdentity([]scsi.Designator{naa(n)}, scsi.StandardInquiry{}, "")
	if err != nil {
		panic(err)
	}
	return id.ID
}

// TestMaskDrains: a path that is masked while in use gets nothing more at once, lets
// what it has end, leaves no key and no record behind, and comes back by a scan.
func TestMaskDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.delay = func(*backends.Request) time.Duration { return 2 * time.Second } })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i+1)))
		}
		before := bd.submits()
		if before == 0 {
			t.Fatal("nothing in flight on the path")
		}
		bd.m.SetClaims(mustRules(t, "100 mask path=vmhba0:0:1"))
		bd.net.with(func() { l.delay = nil })
		for i := range 32 {
			mustOK(t, write(d, uint64(100+i)*4096, 4096, 9))
		}
		bd.wantMasks("vmhba0:0:1=100!")
		info := bd.m.Paths()[0]
		if info.Health != "masked" || info.Used || info.Inflight == 0 || !strings.Contains(info.Reason, "rule 100; it leaves when") {
			t.Errorf("on its way out: %+v", info)
		}
		mustOK(t, calls...)
		time.Sleep(10 * time.Millisecond)
		bd.wantMasks("vmhba0:0:1=100")
		if n := bd.submits(); n != before {
			t.Errorf("%d requests on a masked path", n-before)
		}
		if _, _, keys := bd.asked(l); keys != 3 {
			t.Errorf("%d keys, want those of 3 paths", keys)
		}
		if n := len(bd.store.ghosts); n != 3 || len(d.Paths()) != 3 || d.State().Paths != 3 {
			t.Errorf("%d records and %d paths, want 3", n, len(d.Paths()))
		}
		if c := d.State().Capacity; c.Now != 3 || c.Nominal != 3 {
			t.Errorf("capacity %+v, want 3 of 3: a masked path is not missed", c)
		}
		if len(bd.events.of(NoPaths))+len(bd.events.of(PathDown)) != 0 {
			t.Error("a mask is told as a loss")
		}
		bd.m.SetClaims(ClaimRules{})
		time.Sleep(20 * time.Millisecond)
		if n := bd.used(); n != 4 || bd.m.Paths()[0].Health != "up" {
			t.Errorf("%d paths in use, want 4: %+v", n, bd.m.Paths())
		}
		for i := range 8 {
			mustRead(t, d, uint64(i)*4096, 4096, byte(i+1))
		}
		if bd.submits() == before {
			t.Error("the path carries nothing again")
		}
	})
}

// TestMaskLastPath: without a path requests wait, as with all paths down, and go on
// when the mask ends; what the device can do stays what it was.
func TestMaskLastPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		caps := d.Info()
		bd.m.SetClaims(mustRules(t, "100 mask vendor=FAKE"))
		time.Sleep(20 * time.Millisecond)
		bd.wantMasks("vmhba0:0:1=100 vmhba0:1:1=100 vmhba1:0:1=100 vmhba1:1:1=100")
		if now := d.Info(); now.Caps != caps.Caps || now.Size != caps.Size || !now.Available || now.MaxTransfer != caps.MaxTransfer {
			t.Errorf("info %+v, want %+v", now, caps)
		}
		told := bd.events.of(NoPaths)
		if len(told) != 1 || told[0].Masked != 100 || !strings.Contains(told[0].Reason, "masked by rule 100") || len(bd.events.of(DeviceGone)) != 0 {
			t.Errorf("told that no path is left: %+v", told)
		}
		if i := d.State(); i.Masked != 100 {
			t.Errorf("got rule %d for the device, want 100", i.Masked)
		}
		w := write(d, 4096, 4096, 2)
		time.Sleep(time.Second)
		if w.ended() {
			t.Fatalf("a write without a path: %v", w.res)
		}
		bd.m.SetClaims(ClaimRules{})
		mustOK(t, w)
		mustRead(t, d, 0, 4096, 1)
		if got := bd.device(); got != d || len(bd.events.of(Restored)) != 1 || len(bd.events.of(NoPaths)) != 1 {
			t.Errorf("device %v", got.Name())
		}
		if i := d.State(); i.Masked != 0 {
			t.Errorf("got rule %d for the device, want none", i.Masked)
		}
	})
}

// TestMaskWaitsForTheFence: a path with a write of unknown end stays, without use,
// until that is fenced; the overlapping write waits as ever.
func TestMaskWaitsForTheFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		s := bd.net.server(iqn, portals(1)...)
		l := s.addLUN(1, newMedium(), naa(1))
		bd.start(nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.delay = func(*backends.Request) time.Duration { return 3 * time.Second } })
		first := write(d, 0, 4096, 1)
		bd.net.with(func() { l.delay = nil })
		adapter := "vmhba0"
		if bd.submits() == 0 {
			adapter = "vmhba1"
		}
		bd.net.reset("10.0.0.1:3260", adapter) // the write is at the target still
		mustOK(t, first)                       // over the other adapter
		over := write(d, 0, 4096, 2)
		bd.m.SetClaims(mustRules(t, "100 mask adapter="+adapter))
		bd.wantMasks(adapter + ":0:1=100!")
		if p := d.path(adapter + ":0:1").info(); !strings.Contains(p.Reason, "old writes are fenced") {
			t.Errorf("reason %q", p.Reason)
		}
		if over.ended() {
			t.Error("a write passed a ghost")
		}
		mustOK(t, over)
		time.Sleep(200 * time.Millisecond)
		bd.wantMasks(adapter + ":0:1=100")
		mustRead(t, d, 0, 4096, 2)
		if n := len(bd.store.ghosts); n != 1 {
			t.Errorf("%d records, want that of the path that is left", n)
		}
	})
}

func (p *Path) info() PathInfo {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	return p.infoLocked(time.Now())
}

// twoServers: one medium behind two target names; vmhba0 and vmhba1 reach both.
func twoServers(t *testing.T, rule Rule) (bd *bed, a, b *fakeLUN) {
	bd = newBed(t)
	m := newMedium()
	a = bd.net.server(iqn, "10.0.0.1:3260").addLUN(1, m, naa(1))
	b = bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, naa(1))
	bd.start(func(c *Config) { c.Rule = func(...string) Rule { return rule } })
	return bd, a, b
}

// TestH07MaskFlushes: what is only in the cache of a target whose last path is masked
// is flushed before the path goes; if that fails, the next flush of the client does.
func TestH07MaskFlushes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fail   bool
		rule   Rule
		synced bool
		want   backends.Class
	}{
		{"volatile", false, Rule{}, true, backends.OK},
		{"volatile, and it fails", true, Rule{}, false, backends.Medium},
		{"protected", false, Rule{CacheProtected: true}, true, backends.OK},
		{"protected, and it fails", true, Rule{CacheProtected: true}, false, backends.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, a, b := twoServers(t, tt.rule)
				defer bd.stop()
				d := bd.device()
				for i := range 8 { // to both
					mustOK(t, write(d, uint64(i)*4096, 4096, byte(i+1)))
				}
				if a.writes == 0 || b.writes == 0 {
					t.Fatalf("%d and %d writes: not on both", a.writes, b.writes)
				}
				bd.net.with(func() { a.noSync = tt.fail })
				bd.m.SetClaims(mustRules(t, "100 mask target="+iqn))
				time.Sleep(20 * time.Millisecond)
				bd.wantMasks("vmhba0:0:1=100 vmhba1:0:1=100")
				if (a.syncs == 1) != tt.synced || b.syncs != 0 {
					t.Errorf("%d flushes of the masked target, %d of the other", a.syncs, b.syncs)
				}
				flush := newCall(backends.Flush, 0, 0, 0)
				do(d, flush)
				if res := flush.wait(); res.Class != tt.want {
					t.Errorf("flush: %v, want %v", res.Class, tt.want)
				}
				if lost := len(bd.events.of(FlushLost)) > 0; lost != (tt.want != backends.OK) {
					t.Errorf("loss told: %v", lost)
				}
			})
		})
	}
}

// A flush that waits for the path that goes ends with it.
func TestH07FlushDuringMask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoServers(t, Rule{})
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { a.delay = func(*backends.Request) time.Duration { return 2 * time.Second } })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i+1)))
		}
		bd.net.with(func() { a.delay = nil })
		time.Sleep(10 * time.Millisecond) // those of the other have ended
		bd.m.SetClaims(mustRules(t, "100 mask target="+iqn))
		flush := newCall(backends.Flush, 0, 0, 0)
		do(d, flush)
		time.Sleep(time.Second)
		if flush.ended() {
			t.Fatal("the flush did not wait")
		}
		mustOK(t, append(calls, flush)...)
		if a.syncs == 0 {
			t.Error("the masked target was not flushed")
		}
	})
}

// TestMaskWithoutSession: a path whose session is lost leaves at once; its key is taken
// away at the next login, and nothing else is sent.
func TestMaskWithoutSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.1:3260")
		time.Sleep(50 * time.Millisecond)
		bd.m.SetClaims(mustRules(t, "100 mask portal=10.0.0.1"))
		time.Sleep(50 * time.Millisecond)
		bd.wantMasks("vmhba0:0:1=100 vmhba1:0:1=100")
		before, _, keys := bd.asked(l)
		reserve := bd.reserves(l)
		if keys != 4 {
			t.Errorf("%d keys, want 4", keys)
		}
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(time.Second)
		after, _, keys := bd.asked(l)
		if n := bd.reserves(l) - reserve; keys != 2 || after-before != n {
			t.Errorf("%d keys, %d commands, %d of them PERSISTENT RESERVE: want 2 keys and nothing else", keys, after-before, n)
		}
		bd.wantMasks("vmhba0:0:1=100 vmhba1:0:1=100")
	})
}

// reserves counts the PERSISTENT RESERVE IN and OUT commands.
func (bd *bed) reserves(l *fakeLUN) int {
	bd.net.mu.Lock()
	defer bd.net.mu.Unlock()
	return l.asked[scsi.OpPersistentReserveIn] + l.asked[scsi.OpPersistentReserveOut]
}

// What an administrator has disabled is still so after a mask, and what he has enabled
// since the start is not.
func TestMaskKeepsDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		if err := bd.m.SetPathEnabled("vmhba1:1:1", false); err != nil {
			t.Fatal(err)
		}
		bd.stop()
		bd.start(nil)
		defer bd.stop()
		for _, c := range []struct {
			name string
			on   bool
		}{{"vmhba1:1:1", true}, {"vmhba0:0:1", false}} {
			if err := bd.m.SetPathEnabled(c.name, c.on); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		bd.m.SetClaims(mustRules(t, "100 mask lun=1"))
		time.Sleep(50 * time.Millisecond)
		bd.m.SetClaims(ClaimRules{})
		time.Sleep(50 * time.Millisecond)
		for _, p := range bd.m.Paths() {
			want := "up"
			if p.Name == "vmhba0:0:1" {
				want = "disabled"
			}
			if p.Health != want {
				t.Errorf("%s is %s, want %s", p.Name, p.Health, want)
			}
		}
	})
}

// A rule that comes to match since the LUN tells something else masks it at the next
// proof.
func TestMaskAfterAnotherAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		l := bd.net.server(iqn, portals(1)...).addLUN(1, newMedium(), naa(1))
		bd.start(func(c *Config) { c.Claims = mustRules(t, "100 mask product=NEW*") })
		defer bd.stop()
		bd.device()
		bd.net.with(func() { l.product = "NEW DISK" })
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(50 * time.Millisecond)
		bd.wantMasks("vmhba0:0:1=100")
	})
}

// A mask that is taken back before the path could leave: it goes on as if nothing had
// been.
func TestUnmaskBeforeItLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.delay = func(*backends.Request) time.Duration { return time.Second } })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i+1)))
		}
		bd.net.with(func() { l.delay = nil })
		bd.m.SetClaims(mustRules(t, "100 mask path=*"))
		bd.wantMasks("vmhba0:0:1=100! vmhba0:1:1=100! vmhba1:0:1=100! vmhba1:1:1=100!")
		bd.m.SetClaims(mustRules(t, "100 mask path=vmhba7:*"))
		time.Sleep(20 * time.Millisecond)
		bd.wantMasks("")
		if n := bd.used(); n != 4 {
			t.Errorf("%d paths in use, want 4", n)
		}
		mustOK(t, calls...)
		if a, b := len(bd.events.of(PathMasked)), len(bd.events.of(PathUnmasked)); a != 4 || b != 4 {
			t.Errorf("%d and %d events, want 4 of each", a, b)
		}
	})
}

// A restart with the rule in force: what an earlier run left on the path is fenced all
// the same, since other paths lead to the LUN.
func TestMaskedAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		mustOK(t, write(bd.device(), 0, 4096, 1))
		left := bd.store.clone()
		bd.stop()
		bd.store = left
		bd.start(func(c *Config) { c.Run, c.Claims = 2, mustRules(t, "100 mask adapter=vmhba0") })
		defer bd.stop()
		mustOK(t, write(bd.device(), 0, 4096, 2))
		bd.wantMasks("vmhba0:0:1=100 vmhba0:1:1=100")
		if n := len(bd.store.ghosts); n != 2 {
			t.Errorf("%d records, want those of the 2 paths in use", n)
		}
	})
}

// A key that another path has just left, and has not noted yet, is no orphan.
func TestKeyInTheMakingIsNoOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		d.mu.Lock()
		p := d.paths[1]
		gen, token := p.markedGen, p.token
		p.markedGen, p.token = 0, 0
		d.mu.Unlock()
		if list := d.orphans([]uint64{token}); len(list) != 0 {
			t.Errorf("orphans %x", list)
		}
		d.mu.Lock()
		p.markedGen, p.token = gen, token
		d.mu.Unlock()
	})
}

// TestMaskRandom changes rules at random under load and losses of paths: no write is
// lost or late, nothing goes over a masked path, and in the end all is as the rules say.
func TestMaskRandom(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			bd, _, l := oneDisk(t, nil)
			defer bd.stop()
			d := bd.device()
			slow := rand.New(rand.NewPCG(seed, 8)) // used under the network's lock
			bd.net.with(func() {
				l.delay = func(*backends.Request) time.Duration { return time.Duration(slow.IntN(30)) * time.Millisecond }
			})
			rules := []string{
				"10 mask adapter=vmhba0", "20 mask path=vmhba1:1:1", "30 mask portal=10.0.0.2", "40 use lun=1", "50 mask vendor=FAKE", "5 use adapter=vmhba1",
			}
			var calls []*call
			for step := range 60 {
				var on []string
				for _, r := range rules {
					if rnd.IntN(3) == 0 {
						on = append(on, r)
					}
				}
				bd.m.SetClaims(mustRules(t, on...))
				if rnd.IntN(4) == 0 {
					bd.net.reset(portals(2)[rnd.IntN(2)], []string{"vmhba0", "vmhba1"}[rnd.IntN(2)])
				}
				for i := range 8 {
					calls = append(calls, write(d, uint64(i)*4096, 4096, byte(step+1)))
				}
				time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
			}
			bd.m.SetClaims(mustRules(t, "10 mask adapter=vmhba0"))
			mustOK(t, calls...)
			time.Sleep(10 * time.Second)
			bd.wantMasks("vmhba0:0:1=10 vmhba0:1:1=10")
			before := bd.submits()
			for i := range 8 {
				mustRead(t, d, uint64(i)*4096, 4096, 60)
			}
			if n := bd.submits(); n != before {
				t.Errorf("seed %d: %d requests over a masked path", seed, n-before)
			}
			bd.m.SetClaims(ClaimRules{})
			time.Sleep(time.Minute)
			if n := bd.used(); n != 4 {
				t.Errorf("seed %d: %d paths in use, want 4: %+v", seed, n, bd.m.Paths())
			}
			if _, _, keys := bd.asked(l); keys != 4 {
				t.Errorf("seed %d: %d keys, want 4", seed, keys)
			}
		})
	}
}
