// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"pathgate/backends"
	"pathgate/gateway"
	"pathgate/integration/gate"
	"pathgate/share"
)

const (
	// warmUp passes before a row is measured.
	warmUp = time.Second
	// within is how soon a change is to have its effect.
	within = 100 * time.Millisecond
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The rows wait most of the time: as many run side by side as leave the machine
	// idle enough for the rates to be the devices'.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(gate.Main(m))
}

// hurryOnce is hurry, once in this process: after the program under test was built.
var hurryOnce = sync.OnceFunc(hurry)

// hurry puts this process, and those that it starts, ahead of all others: what is
// measured waits nearly all the time, but its clocks must not. Without the privilege it
// does nothing, and a busy machine makes measurements longer. The kernel keeps a part
// of the time for others, whatever a process of this class does.
func hurry() {
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return
	}
	const roundRobin = 2 // sched(7): SCHED_RR
	lowest := int32(1)   // struct sched_param
	for _, task := range tasks {
		if id, err := strconv.Atoi(filepath.Base(task)); err == nil { // of one thread; new ones take it over
			_, _, _ = syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(id), roundRobin, uintptr(unsafe.Pointer(&lowest)))
		}
	}
}

// member is a VM with what it is to get.
type member struct {
	vm string
	share.Entitlement
}

// of makes a member with shares and the middle priority.
func of(vm string, shares uint32) member {
	e := share.DefaultEntitlement()
	e.Weight = shares
	return member{vm, e}
}

// prio, reserve, limit and burst change what a member is to get.
func (m member) prio(p uint8) member          { m.Priority = p; return m }
func (m member) reserve(r share.Rate) member  { m.Reservation = r; return m }
func (m member) limit(c share.Ceiling) member { m.Limits.Total = c; return m }

// settings are the defaults with the capacity and window of a row.
func settings(capacity int64, depth share.Unit) share.Settings {
	s := share.DefaultSettings()
	s.Capacity, s.Depth = capacity, depth
	return s
}

// rig is a device with the scheduler in front of it and a disk of each member, all in
// this process: client - socket - NBD server - disk - router - hold - service - memory.
type rig struct {
	t     testing.TB
	clock *Clock
	svc   *backends.ServiceFault
	hold  *backends.HoldFault
	rt    *gateway.Router
	addr  string
	seed  uint64
}

// newRig makes a rig whose device serves s.Capacity units per second.
func newRig(t testing.TB, s share.Settings, members ...member) *rig {
	t.Helper()
	return newRigPlan(t, s, true, members...)
}

// newRigPlan is newRig with or without a scheduler.
func newRigPlan(t testing.TB, s share.Settings, scheduled bool, members ...member) *rig {
	t.Helper()
	hurryOnce()
	r := &rig{t: t, clock: newClock(t), svc: newService(t, s.Capacity)}
	r.hold = backends.NewHoldFault(r.svc)
	r.rt = newRouter(t, r.hold, s, scheduled, members)
	var x exports
	for _, m := range members {
		d := gateway.NewDisk(gateway.DiskSpec{
			VM: m.vm, Name: "disk", Priority: m.Priority, Pieces: []gateway.PieceSpec{{Ref: "lun"}},
		})
		if err := d.Attach("lun", r.rt); err != nil {
			t.Fatal(err)
		}
		x = append(x, export{m.vm, "disk", d})
	}
	r.addr = serveNBD(t, x)
	return r
}

// load starts a load of a member.
func (r *rig) load(vm string, job Job) *Load {
	r.t.Helper()
	r.seed++
	job.Addr, job.Export, job.Seed = r.addr, vm+"/disk", cmp.Or(job.Seed, r.seed)
	return start(r.t, r.clock, job)
}

// expect measures for length after from and fails the test where a rate is not as
// wanted.
func (r *rig) expect(what string, length time.Duration, wants ...Want) {
	r.t.Helper()
	expect(r.t, r.clock, what, length, wants...)
}

func expect(t testing.TB, c *Clock, what string, length time.Duration, wants ...Want) {
	t.Helper()
	v := Measure(c, length, wants...)
	t.Logf("measured: %s: %v", what, &v)
	for _, w := range v.Wrong {
		t.Errorf("%s: %s", what, w)
	}
}

// warm lets the loads come to what is steady.
func (r *rig) warm() { r.clock.Sleep(r.clock.Now() + warmUp) }

// finish ends loads and fails the test for any error that they had.
func finish(t testing.TB, loads ...*Load) {
	t.Helper()
	for _, l := range loads {
		l.stop() // all, before the first is waited for
	}
	for _, l := range loads {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// all gives the loads of what is wanted.
func all(wants []Want) (loads []*Load) {
	for _, w := range wants {
		loads = append(loads, w.Load)
	}
	return loads
}
