// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/integration/linear"
	simnet "pathgate/integration/sim"
)

const (
	wireUnit        = 60 // schedules of an ordinary run
	wireSectors     = 32
	wireOps         = 120
	wireControlMost = 400
	wireClients     = 8 // with one request each: more would make the search for an order long
)

// wireShape is what a schedule may vary on purpose, for the negative controls.
type wireShape struct {
	fenceOff  bool
	behaviour func(*simnet.Behaviour)
	faults    []string // what may happen; none: all
	forgets   bool     // a manager that starts again knows nothing of what was in flight
}

// wireRun is one schedule on the real initiator: clients, faults, and a history of
// what was written and seen.
type wireRun struct {
	t        *testing.T
	shape    wireShape
	restarts bool // the manager may be killed
	r        *rand.Rand
	n        *simnet.Network
	tgts     []*simnet.Target
	units    []*simnet.Unit
	addr     []string
	m        *simnet.Medium
	bd       *bed
	h        *linear.History

	configure func(*Config)
	process   *simnet.Process
	gates     []*wireGate
	dev       *Device // of the last gate; nil: not found yet
	verdict   *linear.Verdict

	mu     sync.Mutex
	going  map[*wireOp]bool
	j      *rand.Rand
	busy   [wireClients]bool
	bad    []string
	faults map[string]int
}

// wireOp is one request of a client.
type wireOp struct {
	w     *wireRun
	d     *Device
	by    int
	r     backends.Request
	write *linear.Write
	read  *linear.Read
	ends  int
}

// Complete implements backends.Completer.
func (o *wireOp) Complete(_ *backends.Batch, r *backends.Request, res backends.Result) {
	w := o.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.ends++; o.ends > 1 {
		w.bad = append(w.bad, fmt.Sprintf("%v: %d completions", r.Op, o.ends))
		return
	}
	w.endLocked(o, res)
	r.Data.Release()
}

// endLocked takes the end of a request, unless the run that had it was killed.
func (w *wireRun) endLocked(o *wireOp, res backends.Result) {
	if !w.going[o] {
		return
	}
	delete(w.going, o)
	w.busy[o.by] = false
	switch {
	case o.write != nil:
		w.h.EndWrite(o.write, !res.OK())
	case o.read != nil && res.OK():
		w.h.EndRead(o.read, o.r.Data.Bytes())
	case o.read != nil:
		w.h.EndRead(o.read, nil)
	}
}

// submit sends a request of a client that has none, and gives it; nil: all have one.
func (w *wireRun) submit() *wireOp {
	d := w.device()
	if d == nil {
		return nil
	}
	client := w.r.IntN(wireClients)
	w.mu.Lock()
	for n := 0; w.busy[client] && n < wireClients; n++ {
		client = (client + 1) % wireClients
	}
	if w.busy[client] {
		w.mu.Unlock()
		return nil
	}
	o := &wireOp{w: w, d: d, by: client}
	w.busy[client], w.going[o] = true, true
	w.mu.Unlock()
	n := 1 + w.r.IntN(8)
	first := w.r.IntN(wireSectors - n + 1)
	o.r = backends.Request{Offset: uint64(first) * 512, Length: uint64(n) * 512, Completer: o}
	switch k := w.r.IntN(12); {
	case k < 6:
		var data []byte
		o.write, data = w.h.BeginWrite(client, first, n)
		o.r.Op, o.r.FUA = backends.Write, k == 0
		o.r.Data.AppendBytes(data)
	case k < 11:
		o.read = w.h.BeginRead(client, first, n)
		o.r.Op = backends.Read
	default:
		o.r.Op, o.r.Offset, o.r.Length = backends.Flush, 0, 0
	}
	var b backends.Batch
	d.Submit(&b, []*backends.Request{&o.r})
	b.Run()
	return o
}

// fault does one thing to the network, and undoes it later.
func (w *wireRun) fault() {
	portal := w.addr[w.r.IntN(len(w.addr))]
	adapter := []string{"", "vmhba0", "vmhba1"}[w.r.IntN(3)]
	i := w.r.IntN(len(w.tgts))
	tg, u := w.tgts[i], w.units[i]
	length := time.Duration(w.r.IntN(5000)) * time.Millisecond
	type fault struct {
		name     string
		do, undo func()
	}
	slow, every := time.Duration(1+w.r.IntN(3000))*time.Millisecond, 2+w.r.IntN(4)
	calls := 0
	list := []fault{
		{"reset", func() { w.n.Reset(adapter, portal) }, nil},
		{"half-close", func() { w.n.HalfClose(adapter, portal) }, nil},
		{"mute", func() { w.n.Mute(adapter, portal, true) }, func() { w.n.Mute(adapter, portal, false) }},
		{"hold", func() { w.n.Hold(adapter, portal, true) }, func() { w.n.Hold(adapter, portal, false) }},
		{"refuse", func() {
			w.n.Refuse(adapter, portal, true)
			w.n.Reset(adapter, portal)
		}, func() { w.n.Refuse(adapter, portal, false) }},
		{"stop", tg.Stop, tg.Cont},
		{"kill", tg.Kill, tg.Start},
		{"slow", func() {
			u.Slow(func() time.Duration { calls++; return slow * time.Duration(calls*7%10) / 10 })
		}, func() { u.Slow(nil) }},
		{"restart", w.restart, nil},
		{"swallow", func() { u.Swallow(func() bool { calls++; return calls%every == 0 }) }, func() { u.Swallow(nil) }},
	}
	if !w.restarts {
		list = slices.DeleteFunc(list, func(f fault) bool { return f.name == "restart" })
	}
	if len(w.shape.faults) > 0 {
		list = slices.DeleteFunc(list, func(f fault) bool { return !slices.Contains(w.shape.faults, f.name) })
	}
	f := list[w.r.IntN(len(list))]
	w.faults[f.name]++
	f.do()
	if f.undo != nil {
		time.AfterFunc(length, f.undo)
	}
}

// heal undoes all that may still be broken.
func (w *wireRun) heal() {
	for _, a := range w.addr {
		w.n.Mute("", a, false)
		w.n.Hold("", a, false)
		w.n.Refuse("", a, false)
	}
	for i, tg := range w.tgts {
		tg.Cont()
		tg.Start()
		w.units[i].Slow(nil)
		w.units[i].Swallow(nil)
	}
}

// jitter is as random as the seed.
func (w *wireRun) jitter(n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.j.Int64N(n)
}

// connector is the real initiator of an adapter.
func (w *wireRun) connector(name string, id byte) backends.Connector {
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:host", Adapter: name, Dial: w.process.Dialer(name),
		ISID: func(target string, _ uint16, portal string) ([6]byte, error) {
			sum := byte(0)
			for _, c := range []byte(target + portal) {
				sum = sum*31 + c
			}
			return [6]byte{0x80, id, 1, 2, sum, 3}, nil
		},
		Jitter: w.jitter,
		Timeouts: iscsi.Timeouts{
			NOPInterval: time.Second, NOPTimeout: time.Second, Login: 15 * time.Second,
			FenceLogin: 5 * time.Second, Command: 8 * time.Second,
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// build makes the targets of a seed and the manager on them.
func (w *wireRun) build(seed uint64, s wireShape) {
	w.addr = portals(2)
	b := []simnet.Behaviour{simnet.Tgtd(), simnet.LIO()}[seed%2]
	if s.behaviour != nil {
		s.behaviour(&b)
	}
	var targets []Target
	switch seed / 2 % 3 {
	case 0: // one process
		w.tgts = []*simnet.Target{w.n.Target(iqn, b, w.addr...)}
		targets = []Target{{Name: iqn, Portals: w.addr, LastLUN: 1}}
	case 1: // two with names of their own on one file
		for i, a := range w.addr {
			name := fmt.Sprintf("iqn.2026-11.test:%d", i)
			w.tgts = append(w.tgts, w.n.Target(name, b, a))
			targets = append(targets, Target{Name: name, Portals: []string{a}, LastLUN: 1})
		}
	case 2: // two of one name on one file
		for _, a := range w.addr {
			w.tgts = append(w.tgts, w.n.Target(iqn, b, a))
		}
		targets = []Target{{Name: iqn, Portals: w.addr, LastLUN: 1}}
	}
	for _, tg := range w.tgts {
		w.units = append(w.units, tg.Unit(1, w.m, naa(1)))
	}
	names := SelectorNames()
	w.restarts = seed/7%3 == 0 || slices.Contains(s.faults, "restart")
	w.configure = func(c *Config) {
		c.fenceOff, c.Run = s.fenceOff, uint64(len(w.gates)+1)
		c.Adapters = []Adapter{
			{Name: "vmhba0", Connector: w.connector("vmhba0", 0)},
			{Name: "vmhba1", Connector: w.connector("vmhba1", 1)},
		}
		c.Targets = targets
		c.Timers = Timers{Failback: 500 * time.Millisecond}
		c.Rule = func(...string) Rule {
			return Rule{CacheProtected: true, Selector: Selection{Name: names[seed/6%uint64(len(names))]}}
		}
	}
	w.launch()
	time.Sleep(20 * time.Millisecond) // logins, scan
	synctest.Wait()
}

// wireSchedule carries out one schedule, with what was wrong in bad.
func wireSchedule(t *testing.T, seed uint64, s wireShape) *wireRun {
	w := &wireRun{
		t: t, shape: s, r: rand.New(rand.NewPCG(seed, 4)), j: rand.New(rand.NewPCG(seed, 5)), n: simnet.NewNetwork(), m: simnet.NewMedium(1 << 18),
		h: linear.NewHistory(wireSectors), faults: map[string]int{}, going: map[*wireOp]bool{},
	}
	synctest.Test(t, func(t *testing.T) {
		w.t, w.bd = t, newBed(t)
		w.build(seed, s)
		w.play()
		w.settle()
		w.bd.stop()
		w.bury()
		if n := len(w.bd.store.ghosts); n != 0 {
			w.bad = append(w.bad, fmt.Sprintf("%d records are left in the store", n))
		}
	})
	if err := w.h.Observe(w.m); err != nil {
		t.Error(err)
	}
	w.verdict = w.h.Check(time.Minute)
	if !w.verdict.OK() {
		w.bad = append(w.bad, w.verdict.String())
	}
	if len(w.faults) == 0 {
		w.bad = append(w.bad, "no fault was injected")
	}
	return w
}

// play is the clients and the faults.
func (w *wireRun) play() {
	var ops []*wireOp
	for range wireOps * 3 / 2 {
		if o := w.submit(); o != nil {
			ops = append(ops, o)
		} else {
			time.Sleep(time.Duration(w.r.IntN(300)) * time.Millisecond)
		}
		if len(ops) == wireOps {
			break
		}
		if w.r.IntN(15) == 0 || len(ops) == wireOps/2 && len(w.faults) == 0 {
			w.fault()
		}
		if w.r.IntN(25) == 0 && len(ops) > 0 {
			var b backends.Batch
			o := ops[w.r.IntN(len(ops))]
			o.d.Abort(&b, &o.r)
			b.Run()
		}
		if w.r.IntN(3) == 0 {
			time.Sleep(time.Duration(w.r.IntN(200)) * time.Millisecond)
		}
	}
	time.Sleep(6 * time.Second) // the last fault is undone
	w.heal()
}

// settle waits until nothing is left of what happened.
func (w *wireRun) settle() {
	well := func() bool {
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.going) == 0 && w.up() == 4 && len(w.device().State().Ghosts) == 0
	}
	for range 300 {
		if well() {
			break
		}
		time.Sleep(time.Second)
	}
	time.Sleep(10 * time.Second) // for what may still come
	w.mu.Lock()
	defer w.mu.Unlock()
	var st DeviceInfo
	if d := w.device(); d != nil {
		st = d.State()
	}
	if len(w.going) != 0 || st.Requests != 0 || len(st.Ghosts) != 0 || w.up() != 4 {
		w.bad = append(w.bad, fmt.Sprintf("%d requests are open, %d paths are up: %+v", len(w.going), w.up(), st))
		for _, p := range w.bd.m.Paths() {
			w.bad = append(w.bad, fmt.Sprintf("%+v", p))
		}
		for _, e := range w.bd.events.all() {
			w.bad = append(w.bad, fmt.Sprintf("%v %v %v %v %v %v", e.Time.Format("04:05.000"), e.Kind, e.Path, e.Health, e.Loss, e.Reason))
		}
	}
}

// up counts the paths that are used and off probation.
func (w *wireRun) up() (n int) {
	for _, p := range w.bd.m.Paths() {
		if p.Used && p.Health == Up.String() {
			n++
		}
	}
	return n
}

// TestWireSchedules (H1, H4, H10, P5, P8): the real initiator and the whole path
// manager under random faults, in virtual time: each request ends once, the history
// is that of a disk, nothing is left.
func TestWireSchedules(t *testing.T) {
	first, n := *seedFlag, *wireSchedules
	switch {
	case first == 0 && n < 0:
		first = uint64(rand.Uint32())
	case first == 0:
		first = 1
	case n == wireUnit:
		n = 1
	}
	runWire(t, first, n)
}

// runWire carries out n schedules from seed first on; without end if n is negative.
func runWire(t *testing.T, first uint64, n int) {
	t.Helper()
	// With goroutines in parallel no seed would repeat their order.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	faults := map[string]int{}
	for seed := first; n < 0 || seed < first+uint64(n); seed++ {
		w := wireSchedule(t, seed, wireShape{})
		for k, v := range w.faults {
			faults[k] += v
		}
		if done := seed - first + 1; n < 0 && done%1000 == 0 {
			fmt.Printf("%d schedules from seed %d: %v, 0 violations\n", done, first, faults)
		}
		if len(w.bad) > 0 || t.Failed() {
			t.Fatalf("-run TestWireSchedules -seed %d: %s\ndrawn in %s",
				seed, strings.Join(w.bad[:min(len(w.bad), 500)], "\n"), drawn(t, w.verdict))
		}
	}
	t.Logf("measured: %d schedules from seed %d: %v, 0 violations", n, first, faults)
}

// drawn keeps the picture of a history.
func drawn(t *testing.T, v *linear.Verdict) string {
	dir := os.Getenv("PATHGATE_ARTIFACTS")
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("wire-%d.html", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := v.WriteHTML(f); err != nil {
		t.Error(err)
	}
	return f.Name()
}

// TestWireControls are the negative ones: schedules find each way in which a fence
// would not hold. If they did not, the test above would prove nothing. Each has the
// faults that matter to it alone: one schedule in ten or better then finds it (of
// all faults, one in 170 for the unread bytes), so that none is missed by chance.
func TestWireControls(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, s := range map[string]wireShape{
		"without fences": {fenceOff: true, faults: []string{"slow", "reset"}},
		"unread bytes outlive the login": {
			behaviour: func(b *simnet.Behaviour) { b.KeepsUnread = true },
			faults:    []string{"hold"},
		},
		"the reset waits for nothing": {
			behaviour: func(b *simnet.Behaviour) { b.ResetIgnoresRunning = true; b.LoginWaits = false },
			faults:    []string{"slow", "reset"},
		},
		"a restart forgets": {forgets: true, faults: []string{"slow", "restart"}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= wireControlMost; seed++ {
				if !wireSchedule(t, seed, s).verdict.OK() {
					t.Logf("measured: found in schedule %d", seed)
					return
				}
			}
			t.Errorf("not found in %d schedules", wireControlMost)
		})
	}
}
