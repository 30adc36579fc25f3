// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiator

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pathgate/backends"
)

func tmf(s backends.Session, f *backends.TaskManagement) <-chan backends.TMResponse {
	ch := make(chan backends.TMResponse, 1)
	f.Done = func(_ *backends.Batch, f *backends.TaskManagement) { ch <- f.Response }
	var b backends.Batch
	s.TMF(&b, f)
	b.Run()
	return ch
}

func submit(s backends.Session, r *backends.Request) <-chan backends.Result {
	ch := make(chan backends.Result, 2)
	r.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { ch <- res })
	var b backends.Batch
	s.Submit(&b, []*backends.Request{r})
	b.Run()
	return ch
}

func get[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// TestAbort: ABORT TASK and LOGICAL UNIT RESET against a target that is stopped
// while they are sent: whatever the order in which it takes them up, each request
// ends once, and the session lives on.
func TestAbort(t *testing.T) {
	srv := newTgtd(t, nil)
	cfg := config()
	cfg.Timeouts.NOPTimeout = 10 * time.Second
	_, s, _ := connect(t, cfg, srv.Portals()[0])
	for round := range 10 {
		if err := srv.Stop(); err != nil {
			t.Fatal(err)
		}
		small := &backends.Request{Op: backends.Write, Length: 4096}
		small.Data.AppendBytes(randomBytes(4096))
		big := &backends.Request{Op: backends.Write, Offset: 1 << 20, Length: 4 << 20}
		big.Data.AppendBytes(randomBytes(4 << 20))
		smallEnd, bigEnd := submit(s, small), submit(s, big)
		aborted := tmf(s, &backends.TaskManagement{Function: backends.AbortTask, Task: small, Timeout: 5 * time.Second})
		owed := tmf(s, &backends.TaskManagement{Function: backends.AbortTask, Task: big, Timeout: 5 * time.Second})
		if got := get(t, owed); got != backends.TMDataOwed {
			t.Errorf("abort of a write that waits for R2Ts: %v", got)
		}
		if err := srv.Cont(); err != nil {
			t.Fatal(err)
		}
		r := get(t, aborted)
		res := get(t, smallEnd)
		if r != backends.TMComplete && r != backends.TMNoTask || res.Class != backends.Aborted && res.Class != backends.OK {
			t.Errorf("round %d: abort answered %v, request ended %+v", round, r, res)
		}
		select {
		case res := <-bigEnd:
			t.Errorf("a write that got none of its data ended: %+v", res)
		default:
		}
		// Only a new session ends that one.
		s.Nexus().Relogin(backends.Route{})
		if res := get(t, bigEnd); res.Class != backends.Transport || res.Sent != backends.SentSome || !big.Attempt.DataOwed {
			t.Errorf("got %+v, %+v", res, big.Attempt)
		}
		relogged(t, s)
	}
}

// relogged waits until s can be used again after a loss.
func relogged(t testing.TB, s backends.Session) {
	t.Helper()
	e := handlers[s.Nexus()]
	for {
		select {
		case l := <-e.up:
			for range 3 {
				if exec(t, s, [16]byte{}, 0).Result.OK() {
					break
				}
			}
			s.SetGeometry(l.Generation, lun1)
			return
		case <-e.down:
		case <-time.After(20 * time.Second):
			t.Fatal("no login")
		}
	}
}

func TestLUNReset(t *testing.T) {
	srv := newTgtd(t, nil)
	_, s, _ := connect(t, config(), srv.Portals()[0])
	write(t, s, 0, randomBytes(4096))
	if got := get(t, tmf(s, &backends.TaskManagement{Function: backends.LUNReset, Timeout: 5 * time.Second})); got != backends.TMComplete {
		t.Fatalf("LUN RESET: %v", got)
	}
	// tgtd raises 6/29/00 for every nexus, ours too: it is told, once.
	res := do(t, s, &backends.Request{Op: backends.Read, Length: 4096})
	if res.Class != backends.Busy || res.Sense.Key != 6 || res.Sense.ASC != 0x29 {
		t.Errorf("got %+v, want a unit attention", res)
	}
	if ua := get(t, handlers[s.Nexus()].ua); ua.ASC != 0x29 {
		t.Errorf("unit attention %v", ua)
	}
	if got := read(t, s, 0, 4096); !bytes.Equal(got, randomBytes(4096)) {
		t.Error("data differs")
	}
}

// TestKillUnderLoad kills tgtd while requests are in flight: each ends once, and
// the nexus is back when tgtd is.
func TestKillUnderLoad(t *testing.T) {
	srv := newTgtd(t, nil)
	_, s, _ := connect(t, config(), srv.Portals()[0])
	for round := range 5 {
		w := newWorkload(s, 32, 4096, round%2 == 0)
		w.start()
		get(t, w.warm)
		if err := srv.Kill(); err != nil {
			t.Fatal(err)
		}
		w.stop(t)
		if w.failed.Load() == 0 {
			t.Error("nothing failed: nothing was in flight")
		}
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		relogged(t, s)
	}
	verify(t, s)
}

// workload keeps a number of requests in flight until it is stopped or they fail.
type workload struct {
	s      backends.Session
	reqs   []*backends.Request
	ends   chan struct{}
	warm   chan struct{} // closed after 500 requests
	halt   atomic.Bool
	done   atomic.Int64
	failed atomic.Int64
}

func newWorkload(s backends.Session, depth, size int, writes bool) *workload {
	w := &workload{s: s, ends: make(chan struct{}, depth), warm: make(chan struct{})}
	for i := range depth {
		r := &backends.Request{Op: backends.Read, Offset: uint64(i) << 16, Length: uint64(size), Completer: w}
		if writes {
			r.Op = backends.Write
			r.Data.AppendBytes(randomBytes(size))
		}
		w.reqs = append(w.reqs, r)
	}
	return w
}

func (w *workload) start() {
	var b backends.Batch
	w.s.Submit(&b, w.reqs)
	b.Run()
}

func (w *workload) stop(t testing.TB) {
	t.Helper()
	w.halt.Store(true)
	for range w.reqs {
		get(t, w.ends)
	}
}

func (w *workload) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	if r.Op == backends.Read {
		r.Data.Release()
	}
	if w.done.Add(1) == 500 {
		close(w.warm)
	}
	if !res.OK() {
		w.failed.Add(1)
	}
	if w.halt.Load() || !res.OK() {
		w.ends <- struct{}{}
		return
	}
	r.Offset = (r.Offset + 1<<21) % lun1.Size
	w.s.Submit(b, []*backends.Request{r})
}

// TestSpeed prints how many 4 KiB requests a second one session carries at depth
// 32, and what each costs this process in CPU time. It fails only on errors.
func TestSpeed(t *testing.T) {
	srv := newTgtd(t, nil)
	_, s, _ := connect(t, config(), srv.Portals()[0])
	for _, tt := range []struct {
		name   string
		depth  int
		size   int
		writes bool
	}{
		{"4k read, depth 32", 32, 4096, false},
		{"4k write, depth 32", 32, 4096, true},
		{"4k read, depth 1", 1, 4096, false},
		{"256k read, depth 8", 8, 256 << 10, false},
		{"256k write, depth 8", 8, 256 << 10, true},
	} {
		w := newWorkload(s, tt.depth, tt.size, tt.writes)
		cpu, start := cpuTime(), time.Now()
		w.start()
		<-time.After(2 * time.Second)
		n := w.done.Load()
		cpu, took := cpuTime()-cpu, time.Since(start)
		w.stop(t)
		if w.failed.Load() != 0 {
			t.Errorf("%s: %d failed", tt.name, w.failed.Load())
		}
		t.Logf("%-20s %8.0f/s %8.1f MB/s %6.1f us CPU each", tt.name, float64(n)/took.Seconds(),
			float64(n)*float64(tt.size)/1e6/took.Seconds(), float64(cpu.Microseconds())/float64(n))
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStopped: a stopped target is found out two seconds after its last byte, a
// command in flight is one that may still run, and the nexus returns by itself.
func TestStopped(t *testing.T) {
	srv := newTgtd(t, nil)
	_, s, _ := connect(t, config(), srv.Portals()[0])
	write(t, s, 0, randomBytes(4096))
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	res := get(t, submit(s, &backends.Request{Op: backends.Read, Length: 4096}))
	took := time.Since(start)
	if res.Class != backends.Transport || res.Sent != backends.SentSome || took < time.Second {
		t.Errorf("got %+v after %v", res, took)
	}
	t.Logf("found out after %v", took)
	if l := get(t, handlers[s.Nexus()].down); l.Class != backends.LossSilent {
		t.Errorf("got %v: %v", l.Class, l.Err)
	}
	if err := srv.Cont(); err != nil {
		t.Fatal(err)
	}
	relogged(t, s)
	if got := read(t, s, 0, 4096); !bytes.Equal(got, randomBytes(4096)) {
		t.Error("data differs")
	}
}
