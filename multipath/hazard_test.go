// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// H5: the path comes back with another LU, or the same identity and another
// size. Nothing reaches its medium (P7).
func TestH05LUNSwap(t *testing.T) {
	for name, swap := range map[string]func(s *fakeServer, l *fakeLUN){
		"another id":     func(_ *fakeServer, l *fakeLUN) { l.id = naa(99) },
		"another size":   func(_ *fakeServer, l *fakeLUN) { l.size *= 2 },
		"another serial": func(_ *fakeServer, l *fakeLUN) { l.serial = "x" },
		"smaller":        func(_ *fakeServer, l *fakeLUN) { l.size /= 2 },
		"no id":          func(_ *fakeServer, l *fakeLUN) { l.id = scsi.Designator{}; l.serial = "" },
		"no disk":        func(s *fakeServer, l *fakeLUN) { delete(s.luns, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, a, _ := twoProcesses(t, nil)
				defer bd.stop()
				d := bd.device()
				old := a.luns[1]
				mustOK(t, write(d, 0, 4096, 1))
				bd.net.cut("10.0.0.1:3260")
				var now *fakeLUN
				bd.net.with(func() {
					now = a.addLUN(1, newMedium(), naa(1))
					now.serial, now.product = old.serial, old.product
					swap(a, now)
				})
				bd.net.mend("10.0.0.1:3260")
				time.Sleep(time.Minute)
				for i := range 16 {
					mustOK(t, write(d, uint64(i)*4096, 4096, 2))
				}
				if n := bd.net.count(&now.writes); n != 0 {
					t.Errorf("%d writes to another LU", n)
				}
				ev := bd.events.of(PathQuarantined)
				if len(ev) == 0 || ev[0].Path != "vmhba0:0:1" || ev[0].Reason == "" {
					t.Errorf("quarantine events: %+v", ev)
				}
				// The right one comes back: probation, then in use.
				bd.net.with(func() { a.luns[1] = old })
				time.Sleep(3 * time.Minute)
				if n := bd.used(); n != 2 {
					t.Errorf("got %d paths in use, want 2: %+v", n, bd.m.Paths())
				}
			})
		})
	}
}

// H5 without a login: a unit attention says that another unit may be here.
func TestH05UnitAttention(t *testing.T) {
	for _, ua := range []scsi.SenseCode{
		scsi.CodeInquiryChanged, scsi.CodeDeviceIdentifierChanged, scsi.CodeReportedLUNsChanged, scsi.CodeResetOccurred,
	} {
		synctest.Test(t, func(t *testing.T) {
			bd, a, _ := twoProcesses(t, nil)
			defer bd.stop()
			d := bd.device()
			l := a.luns[1]
			raise := func() {
				for _, c := range a.conns {
					l.attn[c.port] = backends.Sense{Valid: true, Key: uint8(ua.Key()), ASC: ua.ASC(), ASCQ: ua.ASCQ()}
				}
			}
			// The same unit: nothing is seen above.
			bd.net.with(raise)
			var calls []*call
			for i := range 8 {
				calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
			}
			mustOK(t, calls...)
			if n := bd.used(); n != 2 {
				t.Errorf("%v: got %d paths in use, want 2: %+v", ua, n, bd.m.Paths())
			}
			// Another one: quarantined.
			bd.net.with(func() { l.id = naa(5); raise() })
			mustOK(t, write(d, 0, 4096, 2), write(d, 0, 4096, 2), write(d, 0, 4096, 2))
			time.Sleep(time.Second)
			if n := bd.used(); n != 1 || len(bd.events.of(PathQuarantined)) != 1 {
				t.Errorf("%v: got %d paths in use, want 1", ua, n)
			}
		})
	}
}

// B39: a storm of unit attentions fails the path, not the request.
func TestAttentionStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		defer bd.stop()
		bd.net.with(func() {
			a.luns[1].answer = func(*backends.Request) (backends.Result, bool) { return sense(6, 0x2a, 1), true }
		})
		for i := range 4 {
			mustOK(t, write(bd.device(), uint64(i)*4096, 4096, 1))
		}
		if len(bd.events.of(PathDown)) == 0 {
			t.Error("the path is still up")
		}
	})
}

// H7: a flush goes to every target that has unflushed changes, and only there.
func TestH07FlushGoesWhereTheWritesAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		flush := func() {
			t.Helper()
			c := newCall(backends.Flush, 0, 0, 0)
			do(d, c)
			mustOK(t, c)
		}
		syncs := func() [2]int { return [2]int{bd.net.count(&a.luns[1].syncs), bd.net.count(&b.luns[1].syncs)} }
		flush() // an earlier run may have left something
		if got := syncs(); got != [2]int{1, 1} {
			t.Fatalf("the first flush: %v", got)
		}
		flush()
		if got := syncs(); got != [2]int{1, 1} {
			t.Errorf("nothing dirty: %v", got)
		}
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1)) // one each
		flush()
		if got := syncs(); got != [2]int{2, 2} {
			t.Errorf("both dirty: %v", got)
		}
		mustOK(t, write(d, 0, 4096, 1))
		flush()
		if got := syncs(); got[0]+got[1] != 5 {
			t.Errorf("one dirty: %v", got)
		}
		fua := newCall(backends.Write, 0, 4096, 1)
		fua.r.FUA = true
		do(d, fua)
		mustOK(t, fua)
		flush()
		if got := syncs(); got[0]+got[1] != 5 {
			t.Errorf("after a write with FUA: %v", got)
		}
	})
}

// H7: all sessions to a target with unflushed writes are lost: the next flush
// fails once. Not so where the cache is protected, or off, or nothing is dirty.
func TestH07CacheLost(t *testing.T) {
	for _, c := range []struct {
		name                           string
		protected, off, clean, restart bool
		noPR                           bool
		want                           backends.Class
	}{
		{name: "the target does not know us any more", restart: true, want: backends.Medium},
		{name: "no evidence", noPR: true, want: backends.Medium},
		{name: "the target still knows us", want: backends.OK},
		{name: "protected", protected: true, restart: true, want: backends.OK},
		{name: "no cache", off: true, restart: true, want: backends.OK},
		{name: "flushed before", clean: true, restart: true, want: backends.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
				l.wce, l.noPR = !c.off, c.noPR
				bd.start(func(cfg *Config) {
					cfg.Rule = func(...string) Rule { return Rule{CacheProtected: c.protected} }
				})
				defer bd.stop()
				d := bd.device()
				flush := func() backends.Class {
					f := newCall(backends.Flush, 0, 0, 0)
					do(d, f)
					return f.wait().Class
				}
				mustOK(t, write(d, 0, 4096, 1), write(d, 1<<19, 4096, 1))
				if c.clean && flush() != backends.OK {
					t.Fatal("flush failed")
				}
				// One of two portals is no evidence.
				bd.net.reset("10.0.0.1:3260", "")
				time.Sleep(time.Minute)
				bd.net.with(func() {
					if c.restart {
						l.keys = nil
					}
				})
				bd.net.reset("10.0.0.1:3260", "")
				bd.net.reset("10.0.0.2:3260", "")
				// P13: to ask again heals nothing; to write again does.
				for range 3 {
					if got := flush(); got != c.want {
						t.Errorf("got %v, want %v", got, c.want)
					}
				}
				mustOK(t, write(d, 0, 2048, 2), write(d, 1<<19, 8192, 2))
				if got := flush(); got != c.want {
					t.Errorf("half was written again: got %v, want %v", got, c.want)
				}
				mustOK(t, write(d, 2048, 2048, 2))
				if got := flush(); got != backends.OK {
					t.Errorf("all was written again: %v", got)
				}
				if lost := len(bd.events.of(FlushLost)); (lost > 0) != (c.want != backends.OK) {
					t.Errorf("%d events", lost)
				}
			})
		})
	}
}

// P13: a flush that the target has failed stays failed, whatever the target says to
// the next one: fsync tells of an error once.
func TestFailedFlushStaysFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		flush := func() backends.Class {
			f := newCall(backends.Flush, 0, 0, 0)
			do(d, f)
			return f.wait().Class
		}
		mustOK(t, write(d, 0, 4096, 1))
		bd.net.with(func() {
			l.answer = func(r *backends.Request) (backends.Result, bool) { return sense(3, 0x0c, 0), r.Op == backends.Flush }
		})
		if got := flush(); got != backends.Medium {
			t.Fatalf("got %v", got)
		}
		bd.net.with(func() { l.answer = nil })
		if got := flush(); got != backends.Medium {
			t.Errorf("the second: %v", got)
		}
		fua := newCall(backends.Write, 0, 4096, 1)
		fua.r.FUA = true
		do(d, fua)
		mustOK(t, fua)
		if got := flush(); got != backends.OK {
			t.Errorf("after it was written again: %v", got)
		}
	})
}

// H7, H3: two processes of one name have a cache each; two portals of one process
// share one.
func TestH07CacheOfEachProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := oneName(t, func(c *Config) { c.Rule = nil })
		defer bd.stop()
		d := bd.device()
		flush := func() *call { f := newCall(backends.Flush, 0, 0, 0); do(d, f); return f }
		mustOK(t, flush())
		base := []int{bd.net.count(&a.luns[1].syncs), bd.net.count(&b.luns[1].syncs)}
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1), write(d, 8192, 4096, 1), write(d, 12288, 4096, 1))
		wrote := []int{bd.net.count(&a.luns[1].writes), bd.net.count(&b.luns[1].writes)}
		mustOK(t, flush())
		if wrote[0] == 0 || wrote[1] == 0 {
			t.Fatalf("writes: %v", wrote)
		}
		if x, y := bd.net.count(&a.luns[1].syncs)-base[0], bd.net.count(&b.luns[1].syncs)-base[1]; x != 1 || y != 1 {
			t.Errorf("flushed %d and %d times, want 1 and 1", x, y)
		}
		// One of them restarts with writes in its cache; the other goes on.
		mustOK(t, write(d, 0, 4096, 1), write(d, 4096, 4096, 1), write(d, 8192, 4096, 1), write(d, 12288, 4096, 1))
		bd.net.with(func() { a.luns[1].keys = nil })
		bd.net.cut("10.0.0.1:3260")
		f := flush()
		time.Sleep(time.Second)
		if f.ended() {
			t.Errorf("a flush ended (%v) while nobody knows whether a cache is lost", f.res.Class)
		}
		bd.net.mend("10.0.0.1:3260")
		if res := f.wait(); res.Class != backends.Medium {
			t.Errorf("got %v", res.Class)
		}
	})
}

// P2: FUA on a LUN that does not take the bit is a write and a flush.
func TestFUAWithoutTheBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
		l.fua = false
		bd.start(nil)
		defer bd.stop()
		before := bd.net.count(&l.syncs)
		c := newCall(backends.Write, 0, 4096, 1)
		c.r.FUA = true
		do(bd.device(), c)
		mustOK(t, c)
		if got := bd.net.count(&l.syncs) - before; got != 1 {
			t.Errorf("%d flushes, want 1", got)
		}
		if bd.device().Info().Caps.Has(backends.CanFUA) {
			t.Error("CanFUA")
		}
	})
}

// H9: the error of a request that no path can heal reaches its client only.
func TestH09ErrorReachesOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			l.answer = func(r *backends.Request) (backends.Result, bool) {
				return sense(3, 0x0c, 0), r.Offset == 4096
			}
		})
		bad, good := write(d, 4096, 4096, 1), write(d, 0, 4096, 1)
		if res := bad.wait(); res.Class != backends.Medium {
			t.Errorf("got %v", res.Class)
		}
		mustOK(t, good)
		if bd.used() != 4 {
			t.Error("a medium error took a path down")
		}
	})
}

// H11: capacity grows path by path; it counts when all paths agree.
func TestH11Growth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		var changes backends.Change
		var mu sync.Mutex
		defer d.Watch(func(c backends.Change) { mu.Lock(); changes |= c; mu.Unlock() })()
		grow := func(s *fakeServer) {
			bd.net.with(func() {
				l := s.luns[1]
				if len(l.m.b) == fakeSize {
					l.m.b = append(l.m.b, make([]byte, fakeSize)...)
				}
				l.size = 2 * fakeSize
				for _, c := range s.conns {
					l.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x2a, ASCQ: 9}
				}
			})
			for i := range 4 {
				mustOK(t, write(d, uint64(i)*4096, 4096, 1))
			}
			time.Sleep(time.Second)
		}
		grow(a)
		if got := d.Info().Size; got != fakeSize {
			t.Errorf("size %d after one path has grown", got)
		}
		grow(b)
		time.Sleep(2 * time.Minute)
		if got := d.Info().Size; got != 2*fakeSize {
			t.Errorf("size %d after both have grown", got)
		}
		mu.Lock()
		if changes&backends.SizeChanged == 0 {
			t.Error("nobody was told")
		}
		mu.Unlock()
		if bd.used() != 2 {
			t.Errorf("paths %+v", bd.m.Paths())
		}
		mustOK(t, write(d, fakeSize, 4096, 9))
	})
}

// H11: a LUN that grows between the proofs of its first paths is another for a moment,
// and no longer when both show the new size, announced or not.
func TestH11GrowthBetweenProofs(t *testing.T) {
	for _, announced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bd := newBed(t)
			m := newMedium()
			s := bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260")
			a := s.addLUN(1, m, naa(1))
			bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, naa(1)).size = 2 * fakeSize
			m.b = append(m.b, make([]byte, fakeSize)...)
			bd.start(func(c *Config) {
				c.Adapters = c.Adapters[:1]
				c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
			})
			defer bd.stop()
			for _, p := range bd.m.Paths() {
				if p.Health != "quarantined" {
					t.Errorf("%s is %s: %s", p.Name, p.Health, p.Reason)
				}
			}
			bd.net.with(func() {
				a.size = 2 * fakeSize
				for _, c := range s.conns {
					if announced {
						a.attn[c.port] = backends.Sense{Valid: true, Key: 6, ASC: 0x2a, ASCQ: 9}
					}
				}
			})
			time.Sleep(3 * time.Minute)
			if got := bd.device().Info().Size; got != 2*fakeSize || bd.used() != 2 {
				t.Fatalf("size %d, paths %+v", got, bd.m.Paths())
			}
			mustOK(t, write(bd.device(), fakeSize, 4096, 9))
		})
	}
}

// H14: abort, completion, session loss and deadline race; each request ends once.
func TestH14Races(t *testing.T) { raceRequests(t, 60) }

// raceRequests is 8 writers with each so many requests.
func raceRequests(t *testing.T, each int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		d := bd.device()
		k := 0
		bd.net.with(func() {
			l.delay = func(*backends.Request) time.Duration { k++; return time.Duration(k%7) * time.Millisecond }
		})
		var all []*call
		var mu sync.Mutex
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range each {
					op := []backends.Op{backends.Read, backends.Write, backends.Flush}[i%3]
					n := uint64(4096)
					if op == backends.Flush {
						n = 0
					}
					c := newCall(op, uint64((g*each+i)%100)*4096*min(n, 1), n, byte(i))
					mu.Lock()
					all = append(all, c)
					mu.Unlock()
					do(d, c)
					time.Sleep(time.Duration(i%4) * time.Millisecond)
					if i%2 == 0 {
						var b backends.Batch
						d.Abort(&b, &c.r)
						b.Run()
					}
				}
			})
		}
		wg.Go(func() {
			for i := range each / 3 {
				time.Sleep(5 * time.Millisecond)
				bd.net.reset(portals(2)[i%2], "")
			}
		})
		wg.Wait()
		for _, c := range all {
			c.wait()
		}
		synctest.Wait()
		for _, c := range all {
			if c.ends != 1 {
				t.Errorf("%v: %d completions", c.r.Op, c.ends)
			}
			c.r.Data.Release()
		}
		time.Sleep(time.Minute)
		if s := d.State(); s.Requests != 0 || len(s.Ghosts) != 0 {
			t.Errorf("left over: %+v", s)
		}
		bd.stop()
	})
}

// Abort of a parked request is at once, and lets those behind it go.
func TestAbortOfParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		d := bd.device()
		a.stop()
		w1 := through(t, bd)
		w2 := write(d, 0, 8192, 2)
		w3 := write(d, 4096, 4096, 3) // behind w2 only
		synctest.Wait()
		if w3.ended() {
			t.Fatal("out of order")
		}
		var b backends.Batch
		d.Abort(&b, &w2.r)
		b.Run()
		if res := w2.wait(); res.Class != backends.Aborted || res.Sent != backends.SentNone {
			t.Errorf("got %+v", res)
		}
		mustOK(t, w1, w3)
		a.cont()
		time.Sleep(time.Minute)
		bd.stop()
	})
}

// Reset ends all that was submitted before, and tells after their ends.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.swallow = func(*backends.Request) bool { return true } })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		calls = append(calls, newCall(backends.Flush, 0, 0, 0))
		do(d, calls[8])
		got := make(chan backends.Result, 2)
		var b backends.Batch
		d.Reset(&b, func(_ *backends.Batch, res backends.Result) {
			for _, c := range calls {
				if !c.ended() {
					t.Errorf("%v has not ended", c.r.Op)
				}
			}
			got <- res
		})
		b.Run()
		for _, c := range calls {
			c.wait()
		}
		time.Sleep(time.Second)
		if res := <-got; !res.OK() || len(got) != 0 {
			t.Errorf("got %+v, and %d more", res, len(got))
		}
	})
}

// watcher checks the observer's contract.
type watcher struct {
	mu   sync.Mutex
	out  map[*backends.Request]bool
	bad  []string
	seen []backends.QueueKind
	why  []backends.ParkReason // of each Park
	cap  [][2]float64

	refusing []backends.PathWait
}

func (w *watcher) Refusing(_ *backends.Batch, upTo backends.PathWait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusing = append(w.refusing, upTo)
}

func (w *watcher) QueueEvent(_ *backends.Batch, ev backends.QueueEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	leaves := ev.Kind == backends.Park || ev.Kind == backends.PathDown
	if w.out[ev.Request] == leaves {
		w.bad = append(w.bad, ev.Kind.String())
	}
	w.out[ev.Request] = leaves
	w.seen = append(w.seen, ev.Kind)
	if ev.Kind == backends.Park {
		w.why = append(w.why, ev.Reason)
	}
}

func (w *watcher) CapacityChanged(_ *backends.Batch, now, nominal float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cap = append(w.cap, [2]float64{now, nominal})
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		bd.net.with(func() { l.delay = slow(10 * time.Millisecond) })
		calls := []*call{write(d, 0, 4096, 1), write(d, 0, 4096, 2), write(d, 8192, 4096, 3)}
		synctest.Wait()
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.cut("10.0.0.2:3260")
		calls = append(calls, read(d, 0, 4096))
		mustOK(t, calls...)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.bad) > 0 {
			t.Errorf("out of turn: %v", w.bad)
		}
		for _, k := range []backends.QueueKind{backends.Park, backends.Unpark, backends.PathDown, backends.Redrive} {
			if !slices.Contains(w.seen, k) {
				t.Errorf("no %v; %v", k, w.seen)
			}
		}
		if w.cap[0] != [2]float64{4, 4} || !slices.Contains(w.cap, [2]float64{0, 4}) {
			t.Errorf("capacity %v", w.cap)
		}
	})
}

// P9 of DESIGN section 5: the control side answers while every path is mute.
func TestSnapshotsWhilePathsAreMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		bd.net.mute("10.0.0.1:3260")
		bd.net.mute("10.0.0.2:3260")
		start := time.Now()
		write(bd.device(), 0, 4096, 1)
		if len(bd.m.Paths()) != 4 || bd.device().State().Requests != 1 || time.Since(start) != 0 {
			t.Error("the control side waited")
		}
		bd.net.mend("10.0.0.1:3260")
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(time.Minute)
		bd.stop()
	})
}
