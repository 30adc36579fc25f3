// SPDX-License-Identifier: Apache-2.0

package share

import (
	"slices"
	"testing"
	"time"
)

// rig is a Disk whose device keeps what it was given until the test completes
// it. For one goroutine.
type rig struct {
	*Disk
	t     *testing.T
	flows []*Flow
	below []*Cmd
	tags  uint64
	hook  func() // called in issue
}

func newRig(t *testing.T, s Settings, flows ...Entitlement) *rig {
	t.Helper()
	r := &rig{t: t}
	d, err := NewDisk(s, NewPacer(nil, nil), func(_ any, cmds []*Cmd) {
		if len(cmds) > maxIssue {
			t.Errorf("%d commands issued at once", len(cmds))
		}
		r.below = append(r.below, cmds...)
		if r.hook != nil {
			r.hook()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Disk = d
	for _, e := range flows {
		f, err := d.AddFlow(e)
		if err != nil {
			t.Fatal(err)
		}
		r.flows = append(r.flows, f)
	}
	return r
}

// fixedDepth is the default with a window of depth.
func fixedDepth(depth Unit) Settings {
	s := DefaultSettings()
	s.Depth, s.Capacity = depth, 10000
	return s
}

// submit submits n commands of 4 KiB and gives them.
func (r *rig) submit(flow, n int) []*Cmd {
	list := make([]*Cmd, n)
	for i := range list {
		list[i] = read4k(int(r.tags))
		list[i].Tag = r.tags
		r.tags++
	}
	r.Submit(nil, r.flows[flow], list)
	return slices.Clone(list)
}

// end completes the commands, in this order.
func (r *rig) end(list ...*Cmd) {
	r.t.Helper()
	for _, c := range list {
		i := slices.Index(r.below, c)
		if i < 0 {
			r.t.Fatalf("command %d was not issued", c.Tag)
		}
		r.below = slices.Delete(r.below, i, i+1)
		if r.Complete(c) {
			r.Pull(nil)
		}
	}
}

// want checks the account: commands that wait, CU in the window.
func (r *rig) want(queued, inFlight int64) {
	r.t.Helper()
	if w := r.word.load(); w.queued() != queued || w.inFlight() != inFlight {
		r.t.Errorf("%d wait and %d CU in flight, want %d and %d", w.queued(), w.inFlight(), queued, inFlight)
	}
}

// finish completes all and checks that nothing is left behind.
func (r *rig) finish() {
	r.t.Helper()
	for len(r.below) > 0 {
		r.end(r.below[0])
	}
	r.want(0, 0)
	if n := r.commands.Load(); n != 0 {
		r.t.Errorf("%d commands in flight at the end", n)
	}
	for _, f := range r.flows {
		if f.InFlight() != 0 || f.parked.Load() != 0 {
			r.t.Errorf("flow %d: %d in flight, %d parked at the end", f.id, f.InFlight(), f.parked.Load())
		}
	}
	var s Snapshot
	r.Status(&s)
	if s.Faults != 0 || s.InFlight != 0 || s.Commands != 0 {
		r.t.Errorf("core at the end: %d faults, %d CU and %d commands in flight", s.Faults, s.InFlight, s.Commands)
	}
}

func twoEqual() []Entitlement { return []Entitlement{DefaultEntitlement(), DefaultEntitlement()} }

func TestWindowHoldsBack(t *testing.T) {
	r := newRig(t, fixedDepth(8), twoEqual()...)
	r.submit(0, 6)
	r.want(0, 6)
	r.submit(0, 5)
	r.want(3, 8)
	r.submit(1, 4)
	r.want(7, 8)
	if e := r.Why(r.flows[1]); e.Reason != 0 && e.Reason != Share && e.Reason != WindowFull {
		t.Errorf("reason %v", e.Reason)
	}
	r.end(r.below[0])
	r.want(6, 8)
	if e := r.Why(r.flows[1]); e.Seq == 0 || e.Reason != Share && e.Reason != WindowFull {
		t.Errorf("a command that waits for the window: %+v", e)
	}
	r.finish()
}

// TestLargeCommandsOvershootByOne: the window is exceeded by the last command
// only (P6).
func TestLargeCommandsOvershootByOne(t *testing.T) {
	r := newRig(t, fixedDepth(8), twoEqual()...)
	list := []*Cmd{
		{Bytes: 24 << 10, Class: ClassWrite},
		{Bytes: 1 << 20, Class: ClassWrite},
		{Bytes: 4097, Class: ClassRead},
		{Class: ClassOther},
		{Bytes: 1 << 20, Class: ClassOther},
	}
	all := slices.Clone(list)
	r.Submit(nil, r.flows[0], list)
	r.want(3, 6+256)
	if got := []Unit{all[0].Cost(), all[1].Cost()}; !slices.Equal(got, []Unit{6, 256}) {
		t.Errorf("cost %v", got)
	}
	r.end(all[0])
	r.want(3, 256)
	r.end(all[1])
	r.want(0, 4)
	if got := []Unit{all[2].Cost(), all[3].Cost(), all[4].Cost()}; !slices.Equal(got, []Unit{2, 1, 1}) {
		t.Errorf("cost %v", got)
	}
	r.finish()
}

// TestOrderOfAFlow: commands that passed, waited, and were submitted while those
// before them were being issued are issued in the order of their submission.
func TestOrderOfAFlow(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	r.submit(0, 100)
	var order []uint64
	seen := 0
	r.hook = func() {
		if seen == 0 {
			seen = 1
			r.submit(0, 1) // as another goroutine may do meanwhile
		}
	}
	for len(r.below) > 0 {
		order = append(order, r.below[0].Tag)
		r.end(r.below[0])
	}
	if !slices.IsSorted(order) || len(order) != 101 {
		t.Errorf("%d issued, in order %v", len(order), order)
	}
	r.finish()
}

func TestParkedCommandsLeaveTheWindow(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	held := r.submit(0, 4)
	waiting := r.submit(1, 6)
	r.want(6, 4)
	for i, c := range held {
		pull := r.Park(c, Fence)
		if i == 0 && r.Park(c, Busy) {
			t.Error("parked twice asks for a pull")
		}
		if !pull {
			t.Error("a place in the window is free, and nobody is asked for")
		}
	}
	r.want(6, 0)
	r.Pull(nil)
	r.want(2, 4)
	if f := r.flows[0]; f.parked.Load() != 4 {
		t.Errorf("%d parked", f.parked.Load())
	}
	if e := r.Why(r.flows[0]); e.Reason != Fence && e.Reason != Busy {
		t.Errorf("why a held command waits: %+v", e)
	}
	r.Unpark(held[0])
	r.Unpark(held[0])
	r.want(2, 5)
	r.end(held[1]) // ended while held
	r.end(waiting[0])
	r.want(2, 4)
	r.end(waiting[1])
	r.want(1, 4)
	r.finish()
}

func TestLostPath(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	lost := r.submit(0, 4)
	r.submit(1, 4)
	for _, c := range lost {
		r.PathDown(c)
	}
	if !r.Paths(0) {
		t.Error("no pull asked for")
	}
	if r.word.load().open() {
		t.Error("commands may pass while no path is usable")
	}
	r.Pull(nil)
	r.want(4, 0)
	if e := r.Why(r.flows[1]); e.Reason != NoPath {
		t.Errorf("why: %+v", e)
	}
	r.submit(0, 1)
	r.want(5, 0)
	r.Paths(500_000)
	for _, c := range lost {
		r.Redrive(c)
	}
	r.want(5, 4)
	r.Pull(nil)
	r.want(5, 4)
	if d := r.depth.Load(); d != 2 {
		t.Errorf("window %d with half of the paths, want 2", d)
	}
	var s Snapshot
	r.Status(&s)
	if s.Kappa != 500_000 {
		t.Errorf("kappa %d", s.Kappa)
	}
	samples := r.samples.Load()
	r.end(lost...)
	if r.samples.Load() != samples {
		t.Error("a command that was sent again gave a latency")
	}
	r.finish()
}

func TestBoundOnCommands(t *testing.T) {
	r := newRig(t, fixedDepth(64), twoEqual()...)
	r.submit(0, 3)
	if r.Commands(5) {
		r.Pull(nil)
	}
	r.submit(0, 5)
	r.want(3, 5)
	if r.Commands(0) {
		r.Pull(nil)
	}
	r.want(0, 8)
	r.end(slices.Clone(r.below[:4])...)
	if r.TaskSetFull() {
		r.Pull(nil)
	}
	r.submit(1, 4)
	r.want(4, 4)
	r.finish()
}

func TestAbortWhereverItIs(t *testing.T) {
	r := newRig(t, fixedDepth(2), twoEqual()...)
	issued := r.submit(0, 2)
	waits := r.submit(0, 2) // in the inbox: the window is full
	if got := r.Abort(waits[0]); got != AbortTaken {
		t.Errorf("abort in the inbox: %v", got)
	}
	r.want(1, 2)
	r.Pull(nil)
	if waits[1].shell.where != inCore {
		t.Fatalf("the command is in %v", waits[1].shell.where)
	}
	if got := r.Abort(waits[1]); got != AbortTaken {
		t.Errorf("abort in the core: %v", got)
	}
	r.want(0, 2)
	if got := r.Abort(issued[0]); got != AbortIssued {
		t.Errorf("abort of what the device has: %v", got)
	}
	// The first chunk of a large dispatch is being issued, the rest is not.
	more := r.submit(1, 60)
	s := fixedDepth(64)
	if err := r.Configure(s, 1); err != nil {
		t.Fatal(err)
	}
	calls := 0
	r.hook = func() {
		if calls++; calls > 1 {
			return
		}
		if got := r.Abort(more[0]); got != AbortIssuing {
			t.Errorf("abort of what is being issued: %v", got)
		}
		if got := r.Abort(more[59]); got != AbortTaken {
			t.Errorf("abort of what was dispatched and not issued: %v", got)
		}
	}
	r.Pull(nil)
	if slices.Contains(r.below, more[59]) || !slices.Contains(r.below, more[58]) {
		t.Error("the wrong command was taken back")
	}
	r.want(0, 61)
	r.submit(1, 1)
	r.finish()
}

func TestResetTakesOneFlowBack(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	r.submit(0, 4)
	a := r.submit(0, 10)
	r.Pull(nil)
	a = append(a, r.submit(0, 5)...)
	b := r.submit(1, 10)
	back := r.Reset(r.flows[0], nil)
	if len(back) != len(a) {
		t.Errorf("%d given back, want %d", len(back), len(a))
	}
	for _, c := range a {
		if !slices.Contains(back, c) {
			t.Errorf("command %d was not given back", c.Tag)
		}
	}
	r.want(int64(len(b)), 4)
	r.Submit(nil, r.flows[0], back) // they may be used again
	r.finish()
}

func TestCloseGivesBackWhatWaits(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	r.submit(0, 10)
	r.Pull(nil)
	r.submit(1, 10)
	back := r.Close()
	if len(back) != 16 || r.Close() != nil {
		t.Errorf("%d given back, want 16", len(back))
	}
	r.want(0, 4)
	late := r.submit(0, 3)
	if !slices.Contains(r.below, late[2]) {
		t.Error("a closed scheduler keeps commands")
	}
	r.finish()
}

func TestFlowsComeAndGo(t *testing.T) {
	r := newRig(t, fixedDepth(4), twoEqual()...)
	r.submit(1, 6)
	if err := r.RemoveFlow(r.flows[1]); err == nil {
		t.Error("a flow with commands was removed")
	}
	r.finish()
	if err := r.RemoveFlow(r.flows[1]); err != nil {
		t.Fatal(err)
	}
	f, err := r.AddFlow(DefaultEntitlement())
	if err != nil || f.ID() != 1 {
		t.Fatalf("flow %v, error %v: want number 1 again", f, err)
	}
	r.flows[1] = f
	e := DefaultEntitlement()
	e.Group = 3
	if _, err := r.AddFlow(e); err == nil {
		t.Error("a flow of a group that does not exist")
	}
	for g := GroupID(1); g <= 3; g++ {
		if err := r.ConfigureGroup(g, GroupEntitlement{}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.ConfigureFlow(f, e, 2); err != nil {
		t.Error(err)
	}
	if f.fast.Load() {
		t.Error("a member of a group passes the core")
	}
	r.core.faults = 0 // those that were asked for
	r.submit(1, 6)
	r.finish()
}

// TestUseThatPassedCounts: what passed the core is in the flow's use at the next
// plan, and a flow with a limit does not pass.
func TestUseThatPassedCounts(t *testing.T) {
	r := newRig(t, fixedDepth(64), twoEqual()...)
	for range 50 {
		r.submit(0, 2)
		r.end(slices.Clone(r.below)...)
	}
	var s Snapshot
	r.Status(&s)
	if s.Flows[0].Units != 100 && s.Flows[0].Use == 0 {
		t.Errorf("after 100 CU past the core: %+v", s.Flows[0])
	}
	e := DefaultEntitlement()
	e.Limits.Total.Rate.Ops = 10
	if err := r.ConfigureFlow(r.flows[0], e, 7); err != nil {
		t.Fatal(err)
	}
	r.submit(0, 3)
	if w := r.word.load(); w.queued() == 0 {
		t.Error("a limit of 10 per second let 3 commands through at once")
	}
	if e := r.Why(r.flows[0]); e.Reason != Limit || e.Until <= r.pacer.Now() {
		t.Errorf("why: %+v", e)
	}
	if back := r.Reset(r.flows[0], nil); len(back) == 0 {
		t.Error("nothing to give back")
	}
	r.finish()
}

// TestStallVoidsLatencies: what was issued before the end of a stall gives no
// latency, whether the stall has been noticed or not.
func TestStallVoidsLatencies(t *testing.T) {
	r := newRig(t, fixedDepth(64), twoEqual()...)
	count := func() uint64 { return r.samples.Load() >> sampleShift }
	a, b := r.submit(0, 1), r.submit(0, 1)
	before := count()
	r.end(a...)
	if count() != before+1 {
		t.Error("no latency")
	}
	r.stall(r.pacer.Now())
	r.end(b...)
	if count() != before+1 {
		t.Error("a latency over a stall")
	}
	c := r.submit(0, 1)
	r.pacer.seen.Store(int64(r.pacer.Now()) - int64(10*time.Millisecond))
	r.end(c...)
	if count() != before+1 {
		t.Error("a latency over a stall that was not noticed yet")
	}
	r.pacer.seen.Store(int64(never))
	r.Pull(nil)
	var s Snapshot
	r.Status(&s)
	if s.Stalls != 1 {
		t.Errorf("%d stalls", s.Stalls)
	}
	r.finish()
}
