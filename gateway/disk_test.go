// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pathgate/backends"
)

// limited is a memory device with limits, that holds requests back on demand.
type limited struct {
	*backends.Memory
	info backends.Info
	hold bool
	held []*backends.Request
	subs int // requests seen
}

func newLimited(t *testing.T, size uint64, transfer uint32, zeroes uint64) *limited {
	t.Helper()
	m, err := backends.NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Memory: m, info: m.Info()}
	l.info.MaxTransfer, l.info.MaxZeroes, l.info.MaxUnmap = transfer, zeroes, zeroes
	return l
}

func (l *limited) Info() backends.Info { return l.info }

func (l *limited) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		l.subs++
		if res := l.info.Check(r); !res.OK() {
			b.Complete(r, res)
			continue
		}
		if l.hold {
			l.held = append(l.held, r)
			continue
		}
		l.Memory.Submit(b, []*backends.Request{r})
	}
}

func (l *limited) Abort(b *backends.Batch, r *backends.Request) {
	for i, h := range l.held {
		if h == r {
			l.held = append(l.held[:i], l.held[i+1:]...)
			b.Complete(r, backends.Failed(backends.Aborted))
			return
		}
	}
}

// release lets what was held go on its way.
func (l *limited) release() {
	var b backends.Batch
	held := l.held
	l.held, l.hold = nil, false
	l.Submit(&b, held)
	b.Run()
}

// pending is a request whose end the test sees.
type pending struct {
	backends.Request
	res  backends.Result
	ends int
}

func (p *pending) Complete(_ *backends.Batch, _ *backends.Request, res backends.Result) {
	p.res = res
	p.ends++
}

// newTestRouter gives a router whose scheduler goes by the defaults. Its timer
// does not run, so that all is done on the goroutine of the test.
func newTestRouter(t testing.TB, dev backends.Device) *Router {
	rt := NewRouter(dev, RouterOptions{Device: ShareDevice{Name: "lun"}, Pacer: newPacer()})
	t.Cleanup(rt.Close)
	return rt
}

// newTimedRouter gives one whose timer runs, as in the gateway.
func newTimedRouter(t testing.TB, dev backends.Device) *Router {
	rt := NewRouter(dev, RouterOptions{Device: ShareDevice{Name: "lun"}})
	t.Cleanup(rt.Close)
	return rt
}

func start(d backends.Device, op backends.Op, off, n uint64, data []byte) *pending {
	p := &pending{}
	p.Op, p.Offset, p.Length, p.Completer = op, off, n, p
	p.Data.AppendBytes(data)
	var b backends.Batch
	d.Submit(&b, []*backends.Request{&p.Request})
	b.Run()
	return p
}

func do(t *testing.T, d backends.Device, op backends.Op, off, n uint64, data []byte) []byte {
	t.Helper()
	p := start(d, op, off, n, data)
	if p.ends != 1 || !p.res.OK() {
		t.Fatalf("%v at %d of %d bytes: %d completions, result %v", op, off, n, p.ends, p.res.Err())
	}
	got := bytes.Clone(p.Data.Bytes())
	p.Reset()
	return got
}

func pattern(n int, r *rand.Rand) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// newConcat gives a disk of three extents on two devices with odd limits.
func newConcat(t *testing.T) (*Disk, []*limited) {
	t.Helper()
	devs := []*limited{newLimited(t, 1<<20, 64<<10, 128<<10), newLimited(t, 2<<20, 48<<10, 32<<10)}
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "a", Offset: 4096, Length: 300 << 10},
		{Ref: "b", Offset: 512, Length: 700 << 10},
		{Ref: "a", Offset: 512 << 10, Length: 0},
	}})
	if info := d.Info(); info.Available {
		t.Fatal("a disk without its devices is available")
	}
	for i, ref := range []string{"a", "b"} {
		if err := d.Attach(ref, newTestRouter(t, devs[i])); err != nil {
			t.Fatal(err)
		}
	}
	if info := d.Info(); !info.Available || info.Size != 300<<10+700<<10+512<<10 {
		t.Fatalf("info after attaching: %+v, why %q", info, d.Why())
	}
	return d, devs
}

func TestDiskAgainstBytes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 7))
	d, _ := newConcat(t)
	size := d.Info().Size
	want := make([]byte, size)
	for range 400 {
		off := r.Uint64N(size/512) * 512
		n := min((1+r.Uint64N(800))*512, size-off)
		switch r.IntN(4) {
		case 0:
			p := pattern(int(n), r)
			do(t, d, backends.Write, off, n, p)
			copy(want[off:], p)
		case 1:
			do(t, d, backends.WriteZeroes, off, n, nil)
			clear(want[off : off+n])
		default:
			if got := do(t, d, backends.Read, off, n, nil); !bytes.Equal(got, want[off:off+n]) {
				t.Fatalf("seed %d: read of %d bytes at %d differs", seed, n, off)
			}
		}
	}
	if d.Outstanding() != 0 {
		t.Errorf("%d operations outstanding", d.Outstanding())
	}
}

func TestDiskFlushesEachDeviceOnce(t *testing.T) {
	d, devs := newConcat(t)
	do(t, d, backends.Flush, 0, 0, nil)
	for i, dev := range devs {
		if dev.subs != 1 {
			t.Errorf("device %d got %d requests for one flush, want 1", i, dev.subs)
		}
	}
}

func TestDiskRefusesWhatDoesNotFit(t *testing.T) {
	small := newLimited(t, 64<<10, 0, 0)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Offset: 0, Length: 1 << 20}}})
	if err := d.Attach("a", newTestRouter(t, small)); err == nil {
		t.Error("a disk larger than its LUN was attached")
	}
	if p := start(d, backends.Read, 0, 512, nil); p.res.OK() || p.ends != 1 {
		t.Errorf("read of a disk that is not there: %v", p.res)
	}
}

// TestPacedChangeKeepsOrder shows that a later write waits for an earlier long
// zeroing that still has parts to send.
func TestPacedChangeKeepsOrder(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 4096)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
	if err := d.Attach("a", newTestRouter(t, dev)); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	zero := start(d, backends.WriteZeroes, 0, 1<<20, nil)
	if len(dev.held) != maxTogether {
		t.Fatalf("%d parts out at once, want %d", len(dev.held), maxTogether)
	}
	data := bytes.Repeat([]byte{7}, 4096)
	over := start(d, backends.Write, 512<<10, 4096, data)
	if over.ends != 0 || len(dev.held) != maxTogether {
		t.Fatal("an overlapping write passed a zeroing that has not been sent whole")
	}
	dev.release()
	if zero.ends != 1 || over.ends != 1 || !over.res.OK() {
		t.Fatalf("after release: zeroing %d, write %d completions", zero.ends, over.ends)
	}
	if got := do(t, d, backends.Read, 512<<10, 4096, nil); !bytes.Equal(got, data) {
		t.Error("the zeroing landed over a later write")
	}
}

func TestDiskAbortAndReset(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
	if err := d.Attach("a", newTestRouter(t, dev)); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	a, c := start(d, backends.Read, 0, 512, nil), start(d, backends.Read, 512, 512, nil)
	var b backends.Batch
	d.Abort(&b, &a.Request)
	b.Run()
	if a.ends != 1 || a.res.Class != backends.Aborted || c.ends != 0 {
		t.Fatalf("abort: %d completions of the aborted read (%v), %d of the other", a.ends, a.res, c.ends)
	}
	resets := 0
	d.Reset(&b, func(*backends.Batch, backends.Result) {
		resets++
		if c.ends != 1 {
			t.Error("reset was reported before the read had completed")
		}
	})
	b.Run()
	if resets != 1 || c.res.Class != backends.Aborted {
		t.Errorf("reset: %d reports, read ended with %v", resets, c.res)
	}
	d.Reset(&b, func(*backends.Batch, backends.Result) { resets++ })
	b.Run()
	if resets != 2 {
		t.Error("reset of an idle disk was not reported")
	}
}

// TestHeldRequestsLeaveTheWindow shows that the pass-through scheduler obeys the
// events that a device reports.
func TestHeldRequestsLeaveTheWindow(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	explain := NewExplanations(16)
	rt := NewRouter(dev, RouterOptions{Device: ShareDevice{Name: "lun"}, Explain: explain, Plan: &LUNPlan{}})
	t.Cleanup(rt.Close)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
	if err := d.Attach("a", rt); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	start(d, backends.Read, 0, 512, nil)
	start(d, backends.Read, 512, 512, nil)
	window := &rt.sched.(*passThrough).inWindow
	var b backends.Batch
	r := dev.held[0]
	steps := []struct {
		ev   backends.QueueEvent
		want int64
	}{
		{backends.QueueEvent{Kind: backends.Park, Reason: backends.ParkFence, Request: r}, 1},
		{backends.QueueEvent{Kind: backends.Park, Reason: backends.ParkNoPath, Request: r}, 1},
		{backends.QueueEvent{Kind: backends.Unpark, Request: r}, 2},
		{backends.QueueEvent{Kind: backends.PathDown, Request: r}, 1},
		{backends.QueueEvent{Kind: backends.Redrive, Request: r}, 2},
		{backends.QueueEvent{Kind: backends.PathDown, Request: r}, 1},
	}
	for _, s := range steps {
		rt.QueueEvent(&b, s.ev)
		if got := window.Load(); got != s.want {
			t.Errorf("after %v: %d in the window, want %d", s.ev.Kind, got, s.want)
		}
	}
	why := explain.Query(ExplainQuery{VM: "vm1"})
	if len(why) != 2 || why[0].Device != "lun" || why[0].Disk != "root" {
		t.Errorf("explanations %+v", why)
	}
	if len(why) == 2 && (why[0].Reason == why[1].Reason || why[0].Reason != WhyFence && why[1].Reason != WhyFence) {
		t.Errorf("reasons %v and %v, want fence and no path", why[0].Reason, why[1].Reason)
	}
	dev.release()
	if got := window.Load(); got != 0 {
		t.Errorf("%d in the window after all have completed", got)
	}
	s := rt.Flow("vm1").Stats()
	if s.Inflight != 0 || len(s.Held) != 0 || s.Reads != 2 || rt.Flow("vm1").redriving.Load() != 0 {
		t.Errorf("flow after all have completed: %+v", s)
	}
}
