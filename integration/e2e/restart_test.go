// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
	"pathgate/integration/tgtd"
)

// TestKilledUnderLoad: the gateway is killed under stamps and started on the same
// state. Each path's earlier writes are fenced before the first new one, and what
// was acknowledged is there.
func TestKilledUnderLoad(t *testing.T) {
	b := newBed(t, bedOptions{})
	before := b.g.Paths(t)
	for round := range 3 {
		c, done := b.startDoomed(t, uint64(20+round))
		b.g.Kill()
		rep := <-done
		if rep.Errors == 0 || rep.Violations != 0 {
			t.Errorf("a killed gateway: %v", rep)
		}
		mark := b.g.Events.Mark()
		if err := b.g.Start(); err != nil {
			t.Fatal(err)
		}
		// The first write waits for the fences; it is beyond what the stamps use.
		client := b.g.Connect(t, "vm1/root")
		begin := time.Now()
		if _, err := client.WriteAt(block('f'), 48*mib); err != nil {
			t.Fatal(err)
		}
		wrote := time.Now()
		b.settle(t)
		fences := b.g.Events.Since(mark, gate.Kind("fence-done"))
		if len(fences) < 4 {
			t.Errorf("got %d fences, want one for each of 4 paths: %v", len(fences), fences)
		}
		for _, f := range fences {
			if f.Time.After(wrote) {
				t.Errorf("a write was acknowledged %v before %v", f.Time.Sub(wrote), f)
			}
		}
		b.verify(t, c, client)
		if after := b.g.Paths(t); !slices.Equal(names(after), names(before)) {
			t.Errorf("paths were %v, are %v", names(before), names(after))
		}
		t.Logf("measured: killed under load: %d fences, first write after %v; %d acknowledged writes checked",
			len(fences), wrote.Sub(begin).Round(time.Millisecond), rep.Writes.Ops)
	}
}

// startDoomed starts stamps whose gateway is going to end, and waits for load. The
// report comes when it has ended.
func (b *bed) startDoomed(t testing.TB, seed uint64) (*stamp.Checker, <-chan *stamp.Report) {
	t.Helper()
	c, err := stamp.New(stamp.Config{Size: 16 * mib, Writers: 8, Seed: seed, MaxIO: 64 << 10, FUA: 5, Flushes: 1})
	if err != nil {
		t.Fatal(err)
	}
	clients := b.connect(t, 4)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan *stamp.Report, 1)
	go func() {
		rep, err := c.Run(ctx, targets(clients)...)
		if err != nil {
			t.Error(err)
			rep = &stamp.Report{}
		}
		done <- rep
	}()
	go func() {
		for _, c := range clients {
			<-c.Done()
		}
		stop()
	}()
	(&stampLoad{b: b}).flow(t)
	(&stampLoad{b: b}).flow(t)
	return c, done
}

// verify holds the disk and its file against what the checker has written.
func (b *bed) verify(t testing.TB, c *stamp.Checker, client *nbdclient.Client) {
	t.Helper()
	if bad, err := c.Verify(client); err != nil || len(bad) > 0 {
		t.Errorf("through the gateway: %v, %v", bad, err)
	}
	f, err := os.Open(b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if bad, err := c.Verify(f); err != nil || len(bad) > 0 {
		t.Errorf("backing file: %v, %v", bad, err)
	}
}

// TestTerminatedUnderLoad: SIGTERM under stamps. The clients are told, the process
// ends in bounded time with status 0, and the next start has nothing to fence.
func TestTerminatedUnderLoad(t *testing.T) {
	b := newBed(t, bedOptions{})
	for round := range 3 {
		c, done := b.startDoomed(t, uint64(30+round))
		mark := b.g.Events.Mark()
		took, err := b.g.Terminate(15 * time.Second)
		if err != nil {
			t.Fatalf("SIGTERM: %v", err)
		}
		rep := <-done
		if rep.Violations != 0 {
			t.Errorf("a terminated gateway: %v", rep)
		}
		b.g.Events.Wait(t, mark, time.Second, gate.Kind("gateway-stopping"))
		mark = b.g.Events.Mark()
		if err := b.g.Start(); err != nil {
			t.Fatal(err)
		}
		b.settle(t)
		if e := b.g.Events.Wait(t, mark, time.Second, gate.Kind("gateway-started")); strings.Contains(e.Message, "not stop cleanly") {
			t.Errorf("the stop was not clean: %v", e)
		}
		b.verify(t, c, b.g.Connect(t, "vm1/root"))
		if got := b.g.Events.Since(mark, gate.Kind("ghost-held", "fence-start", "path-down", "flush-lost")); len(got) > 0 {
			t.Errorf("after a clean stop: %v", got)
		}
		t.Logf("measured: SIGTERM under load: ended in %v; last answers: %v", took.Round(time.Millisecond), rep.ErrorList[:min(2, len(rep.ErrorList))])
	}
}

// TestTerminatedWithoutPaths: a stop does not wait for targets that do not answer.
func TestTerminatedWithoutPaths(t *testing.T) {
	b := newBed(t, bedOptions{})
	c := b.connect(t, 1)[0]
	mark := b.g.Events.Mark()
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.BlackHole})
	}
	w := writeLater(c, '1', 0)
	b.g.Events.Wait(t, mark, 5*time.Second, gate.Kind("all-paths-down"))
	took, err := b.g.Terminate(30 * time.Second)
	if err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	select {
	case e := <-w:
		if e.err == nil {
			t.Error("a write without a path was acknowledged")
		}
	case <-time.After(time.Second):
		t.Error("the client of an ended gateway still waits")
	}
	t.Logf("measured: SIGTERM with all paths black-holed and a write waiting: ended in %v", took.Round(time.Millisecond))
}

// TestDiskAppears: a disk whose LUN is not there yet is offered when it appears.
// Opening it waits, or fails where that is configured, and `disk list` says why.
func TestDiskAppears(t *testing.T) {
	b := newTargets(t, bedOptions{})
	if err := b.tgts[0].Kill(); err != nil {
		t.Fatal(err)
	}
	b.g = gate.New(t, b.config(bedOptions{config: gate.Config{Disks: []string{
		`{name: root, lun: "vmhba0:0:1", offset: 0, size: 32MiB}`,
		`{name: now, lun: "vmhba0:0:1", offset: 32MiB, size: 32MiB, open: fail}`,
	}}}))
	for _, d := range b.g.Disks(t) {
		if d.Available || !strings.Contains(d.Why, "vmhba0:0:1") {
			t.Errorf("disk %+v, want the LUN that is missing", d)
		}
	}
	if out := b.g.MustCLI(t, "disk", "list"); !strings.Contains(out, "vmhba0:0:1") || !strings.Contains(out, "vm1/root") {
		t.Errorf("`disk list` does not say why:\n%s", out)
	}
	begin := time.Now()
	_, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: b.g.NBD(), Export: "vm1/now"})
	var refused *nbdclient.OptionError
	if !errors.As(err, &refused) || time.Since(begin) > time.Second {
		t.Errorf("open: fail gives %v after %v, want a refusal at once", err, time.Since(begin))
	}
	type opened struct {
		c   *nbdclient.Client
		err error
	}
	waits := make(chan opened, 1)
	go func() {
		c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: b.g.NBD(), Export: "vm1/root"})
		waits <- opened{c, err}
	}()
	<-time.After(500 * time.Millisecond) // in which it must not end
	if len(waits) > 0 {
		t.Fatalf("the open did not wait: %v", (<-waits).err)
	}
	mark := b.g.Events.Mark()
	if err := b.tgts[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	there := time.Now()
	b.g.Events.WaitN(t, mark, 2, 20*time.Second, gate.Kind("disk-available"))
	o := <-waits
	if o.err != nil {
		t.Fatalf("the open that waited: %v", o.err)
	}
	defer o.c.Close()
	took := time.Since(there)
	await(t, "a write", writeLater(o.c, '1', 0), 5*time.Second)
	await(t, "a write", writeLater(b.g.Connect(t, "vm1/now"), '2', 0), 5*time.Second)
	b.shows(t, o.c, '1', 0, "through the first disk")
	t.Logf("measured: disk offered %v after its target came", took.Round(time.Millisecond))
}

// TestDiskSwapped (H5): a name was resolved once. Another LUN there later is refused,
// also by the next run.
func TestDiskSwapped(t *testing.T) {
	portal := func(scsiID string) *tgtd.Server {
		return tgtd.New(t, tgtd.Options{Portals: []string{"127.0.0.1:0"}, Targets: []tgtd.Target{{
			Name: iqn,
			LUNs: []tgtd.LUN{{SizeBytes: lunSize, SCSIID: scsiID, SCSISN: scsiID}},
		}}})
	}
	first := portal("first")
	p := proxy.MustNew(t, proxy.Options{Target: first.Portals()[0], Protocol: proxy.ISCSI})
	addr := p.Addr()
	g := gate.New(t, gate.Config{Targets: []gate.Target{{Portals: []string{addr}}}})
	g.WaitUp(t, 2, 10*time.Second)
	await(t, "a write", writeLater(g.Connect(t, "vm1/root"), '1', 0), 5*time.Second)
	if _, err := g.Terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	proxy.MustNew(t, proxy.Options{Listen: addr, Target: portal("other").Portals()[0], Protocol: proxy.ISCSI})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	g.WaitPaths(t, 10*time.Second, func(ps []gate.Path) bool { return len(ps) == 2 })
	ds := g.WaitDisks(t, 10*time.Second, func(ds []gate.Disk) bool {
		return len(ds) == 1 && !ds[0].Available && !strings.Contains(ds[0].Why, "has not been found")
	})
	t.Logf("why: %s", ds[0].Why)
}

// TestPathDisable: an administrator takes paths out and puts them back under I/O.
func TestPathDisable(t *testing.T) {
	b := newBed(t, bedOptions{})
	l := b.startStamps(t, 10)
	for _, p := range b.g.Paths(t) {
		mark := b.g.Events.Mark()
		b.g.MustCLI(t, "path", "disable", p.Name)
		b.g.Events.Wait(t, mark, 5*time.Second, onPath("path-disabled", []string{p.Name}))
		b.g.WaitPaths(t, 5*time.Second, func(ps []gate.Path) bool {
			i := slices.IndexFunc(ps, func(q gate.Path) bool { return q.Name == p.Name })
			return ps[i].Disabled && !ps[i].Used && ps[i].Health == "disabled"
		})
		l.flow(t)
		b.g.MustCLI(t, "path", "enable", p.Name)
		b.g.Events.Wait(t, mark, 5*time.Second, onPath("path-enabled", []string{p.Name}))
		b.settle(t)
	}
	rep := l.finish(t)
	t.Logf("measured: each path disabled and enabled under stamps: %s", summary(rep))
}

// TestControlAnswers: the control socket answers within 100 ms while every path is
// black-holed and requests wait.
func TestControlAnswers(t *testing.T) {
	b := newBed(t, bedOptions{})
	l := b.startStamps(t, 11)
	mark := b.g.Events.Mark()
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.BlackHole})
	}
	// From the moment of the fault on: before it is noticed, while, and after.
	var slowest []time.Duration
	for n := 0; n < 40 || len(b.g.Events.Since(mark, gate.Kind("all-paths-down"))) == 0; n++ {
		if n > 2000 {
			t.Fatal("no event says that all paths are down")
		}
		begin := time.Now()
		b.g.Paths(t)
		b.g.Devices(t)
		b.g.Disks(t)
		slowest = append(slowest, time.Since(begin)/3)
		<-time.After(10 * time.Millisecond)
	}
	begin := time.Now()
	b.g.MustCLI(t, "path", "list")
	cli := time.Since(begin)
	slices.Sort(slowest)
	if p99 := slowest[len(slowest)*99/100]; p99 > 100*time.Millisecond {
		t.Errorf("the control socket takes %v, want at most 100 ms", p99)
	}
	b.restoreAll()
	b.settle(t)
	rep := l.finish(t)
	t.Logf("measured: control socket with all paths black-holed: median %v, slowest %v of %d; `path list` %v; %s",
		slowest[len(slowest)/2], slowest[len(slowest)-1], len(slowest), cli.Round(time.Millisecond), summary(rep))
}

// TestEventsCommand: `events -f -o json` prints each event on a line as it comes.
func TestEventsCommand(t *testing.T) {
	b := newBed(t, bedOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, err := b.g.Stream(ctx, "events", "-f", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	b.proxies[0].ResetConns()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatal("the command has ended")
			}
			if e, err := gate.ParseEvent([]byte(line)); err != nil {
				t.Fatalf("%s: %v", line, err)
			} else if e.Kind == "path-down" && e.Path != "" && e.Seq > 0 {
				return
			}
		case <-deadline:
			t.Fatal("no path-down event came")
		}
	}
}
