// SPDX-License-Identifier: Apache-2.0

//go:build integration

package alua

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
)

const (
	mib = 1 << 20
	// patience is for what takes a second on a quiet machine.
	patience = time.Minute
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// array is LIO with one LUN over two portal groups, 0 and 1, each of one portal
// behind a proxy.
type array struct {
	srv     *lio.Server
	proxies []*proxy.Proxy
}

func newArray(t *testing.T) *array {
	t.Helper()
	a := &array{srv: lio.New(t, lio.Options{LUNs: []lio.LUN{{SizeBytes: 64 * mib}}, Groups: []lio.PortalGroup{{}, {}}})}
	for _, p := range a.srv.Portals() {
		a.proxies = append(a.proxies, proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1}))
	}
	return a
}

// set gives the groups these states, in this order.
func (a *array) set(t *testing.T, states ...lio.ALUA) {
	t.Helper()
	m := map[int]lio.ALUA{}
	for i, s := range states {
		m[i] = s
	}
	if err := a.srv.SetALUAs(t.Context(), 0, m); err != nil {
		t.Fatal(err)
	}
}

// access says who may change states from now on.
func (a *array) access(t *testing.T, who lio.AccessType) {
	t.Helper()
	if err := a.srv.SetAccessType(t.Context(), 0, who); err != nil {
		t.Fatal(err)
	}
}

// gateway starts a gateway on the array, with rule for its LUNs.
func (a *array) gateway(t *testing.T, rule string, timeouts map[string]string) *gate.Gate {
	t.Helper()
	return a.gatewayWith(t, gate.Config{Rules: []string{rule}, Timeouts: timeouts, Disks: []string{`{name: root, lun: "vmhba0:0:0"}`}})
}

// gatewayWith starts a gateway on the array, and waits until its four paths are up.
func (a *array) gatewayWith(t *testing.T, c gate.Config) *gate.Gate {
	t.Helper()
	var portals []string
	for _, p := range a.proxies {
		portals = append(portals, p.Addr())
	}
	c.Initiator = "iqn.2026-11.test:" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	c.Targets = []gate.Target{{Portals: portals}}
	g := gate.New(t, c)
	g.WaitPaths(t, patience, func(list []gate.Path) bool {
		up := 0
		for _, p := range list {
			if p.Health == "up" {
				up++
			}
		}
		return up == 4
	})
	g.WaitDisks(t, patience, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return g
}

// queue has old writes fenced though others seem to use the LUN: a gateway that stops
// while its paths are cut leaves its keys there.
const queue = `id: "*", all-paths-down: queue, cache: protected, fence-reset: always`

// used waits until requests go over exactly these groups.
func used(t *testing.T, g *gate.Gate, groups ...string) {
	t.Helper()
	var last []gate.Path
	eventually(t, func() bool {
		last = g.Paths(t)
		var have []string
		for _, p := range last {
			if p.Used && !slices.Contains(have, p.Group) {
				have = append(have, p.Group)
			}
		}
		slices.Sort(have)
		return slices.Equal(have, groups)
	}, func() { t.Errorf("want groups %v in use, have %+v", groups, last) })
}

// idle waits until no request is on its way over the paths of group.
func idle(t *testing.T, g *gate.Gate, group string) {
	t.Helper()
	var last []gate.Path
	eventually(t, func() bool {
		last = g.Paths(t)
		return !slices.ContainsFunc(last, func(p gate.Path) bool { return p.Group == group && p.Inflight > 0 })
	}, func() { t.Errorf("want nothing in flight in group %s, have %+v", group, last) })
}

// eventually polls ok, and calls what when it is not so in time.
func eventually(t *testing.T, ok func() bool, what func()) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			what()
			t.FailNow()
		}
	}
}

// load is a checked load on a disk.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	rep    *stamp.Report
	err    error
}

// startLoad starts a load, and waits until it writes.
func startLoad(t *testing.T, g *gate.Gate, proxies []*proxy.Proxy) *load {
	t.Helper()
	written := func() (sum int64) {
		for _, p := range proxies {
			sum += p.Counters().ToTarget.DataBytes
		}
		return sum
	}
	from := written()
	c, err := stamp.New(stamp.Config{Size: 16 * mib, Writers: 4, Depth: 2, Seed: 1, MaxIO: 32 << 10, NoFill: true, FUA: 5, Flushes: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	disk := g.Connect(t, "vm1/root")
	l.wg.Go(func() { l.rep, l.err = c.Run(ctx, disk) })
	t.Cleanup(cancel)
	eventually(t, func() bool { return written()-from > mib }, func() { t.Error("the load writes nothing") })
	return l
}

// stop ends the load and judges it.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	if l.err != nil {
		t.Fatal(l.err)
	}
	if l.rep.Violations != 0 || l.rep.Errors != 0 {
		t.Error(l.rep)
	}
	if l.rep.Writes.Ops == 0 {
		t.Error("nothing was written")
	}
}

// busy waits until n more data requests have gone through proxy i.
func (a *array) busy(t *testing.T, i int, n int64) {
	t.Helper()
	from := a.proxies[i].Counters().ToTarget.PDUs[proxy.SCSICommand.String()]
	if err := a.proxies[i].Wait(func(c proxy.Counters) bool {
		return c.ToTarget.PDUs[proxy.SCSICommand.String()] >= from+n
	}, patience); err != nil {
		t.Fatal(err)
	}
}

// data is what has gone through proxy i in data segments, both ways.
func (a *array) data(i int) int64 {
	c := a.proxies[i].Counters()
	return c.ToTarget.DataBytes + c.ToClient.DataBytes
}

// flows waits until much more data has gone through proxy i than from, far above what a
// session needs for itself. With a group out of reach, few writes may be left that do not
// wait for a fence: it is to be counted from before the cut.
func (a *array) flows(t *testing.T, i int, from int64) {
	t.Helper()
	eventually(t, func() bool { return a.data(i)-from > 64<<10 }, func() { t.Errorf("%d bytes of data over group %d", a.data(i)-from, i) })
}

// silent checks that group i, which is not in use, carries no data while the other one
// does. What was on its way when it was left has to end first.
func (a *array) silent(t *testing.T, g *gate.Gate, i int) {
	t.Helper()
	idle(t, g, string(rune('0'+i)))
	from := a.data(i)
	a.busy(t, 1-i, 100)
	// The states are asked for now and then; a request is 512 bytes at least.
	if n := a.data(i) - from; n > 400 {
		t.Errorf("%d bytes of data over group %d, which is not used", n, i)
	}
}
