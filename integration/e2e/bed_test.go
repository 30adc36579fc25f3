// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

const (
	mib     = 1 << 20
	lunSize = 64 * mib
	iqn     = "iqn.2026-11.test:disk"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with a disk over two portals, each behind a proxy of its own:
// two adapters make four paths, of which a proxy carries two.
type bed struct {
	tgts    []*tgtd.Server
	proxies []*proxy.Proxy
	g       *gate.Gate
	file    string // what is behind the LUN
}

// bedOptions are what tests vary.
type bedOptions struct {
	two    bool // two tgtd processes with one file, a portal each, in place of one with two
	size   int64
	config gate.Config // Targets are filled in
	more   []string    // keys of the target's entry
	tgtd   func(*tgtd.Options)
}

// lun is the LUN on file that all targets of a bed show.
func lun(file string, size int64) tgtd.LUN {
	return tgtd.LUN{File: file, SizeBytes: size, SCSIID: "pathgate-e2e-1", SCSISN: "e2e1"}
}

// memFile makes an empty file in memory that is removed with the test.
func memFile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "lun")
}

// newTargets starts the targets and proxies of a bed.
func newTargets(t testing.TB, o bedOptions) *bed {
	t.Helper()
	b := &bed{file: memFile(t)}
	if o.size == 0 {
		o.size = lunSize
	}
	opts := tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{lun(b.file, o.size)}}},
	}
	n := 1
	if o.two {
		opts.Portals, n = opts.Portals[:1], 2
	}
	if o.tgtd != nil {
		o.tgtd(&opts)
	}
	for range n {
		s := tgtd.New(t, opts)
		b.tgts = append(b.tgts, s)
		for _, portal := range s.Portals() {
			b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
		}
	}
	return b
}

// newBed starts a bed and waits until all its paths are up.
func newBed(t testing.TB, o bedOptions) *bed {
	t.Helper()
	b := newTargets(t, o)
	b.g = gate.New(t, b.config(o))
	b.settle(t)
	return b
}

// config is the gateway's configuration for the bed.
func (b *bed) config(o bedOptions) gate.Config {
	c := o.config
	target := gate.Target{More: o.more}
	for _, p := range b.proxies {
		target.Portals = append(target.Portals, p.Addr())
	}
	c.Targets = []gate.Target{target}
	return c
}

// settle waits until all four paths are used and nothing is left of any fault.
func (b *bed) settle(t testing.TB) {
	t.Helper()
	b.g.WaitUp(t, 4, 30*time.Second)
	b.g.WaitDisks(t, 10*time.Second, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
}

// connect opens n connections to vm1/root.
func (b *bed) connect(t testing.TB, n int) (clients []*nbdclient.Client) {
	t.Helper()
	for range n {
		clients = append(clients, b.g.Connect(t, "vm1/root"))
	}
	return clients
}

func targets(clients []*nbdclient.Client) (list []stamp.Target) {
	for _, c := range clients {
		list = append(list, c)
	}
	return list
}

// behind are the names of the paths that go through proxy i.
func (b *bed) behind(t testing.TB, i int) (names []string) {
	t.Helper()
	for _, p := range b.g.Paths(t) {
		if p.Portal == b.proxies[i].Addr() {
			names = append(names, p.Name)
		}
	}
	return names
}

// stampLoad is a stamp run that goes on until it is stopped.
type stampLoad struct {
	b       *bed
	checker *stamp.Checker
	stop    context.CancelFunc
	done    chan error
	rep     *stamp.Report
}

// startStamps starts 8 writers with overwrites over 4 connections on the first 16
// MiB of the disk, and waits until all proxies carry their data.
func (b *bed) startStamps(t testing.TB, seed uint64) *stampLoad {
	t.Helper()
	c, err := stamp.New(stamp.Config{Size: 16 * mib, Writers: 8, Seed: seed, MaxIO: 64 << 10, FUA: 5, Flushes: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &stampLoad{b: b, checker: c, stop: stop, done: make(chan error, 1)}
	clients := b.connect(t, 4)
	t.Cleanup(func() {
		stop()
		for _, c := range clients {
			c.Close() // ends what waits
		}
		_ = l.end() // a test that cares has asked before
	})
	go func() {
		var err error
		l.rep, err = c.Run(ctx, targets(clients)...)
		l.done <- err
		close(l.done)
	}()
	l.flow(t)
	return l
}

func (l *stampLoad) end() error {
	err := <-l.done
	return err
}

// flow waits until every proxy has carried another MiB.
func (l *stampLoad) flow(t testing.TB) {
	t.Helper()
	for i := range l.b.proxies {
		l.flowOn(t, i, mib)
	}
}

// flowOn waits until proxy i has carried n more bytes.
func (l *stampLoad) flowOn(t testing.TB, i int, n int64) {
	t.Helper()
	p := l.b.proxies[i]
	from := p.Counters().ToTarget.Bytes
	if err := p.Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > from+n }, 30*time.Second); err != nil {
		t.Fatalf("no load: %v", err)
	}
}

// finish ends the run and judges it, on the disk and on the backing file, if there is one.
func (l *stampLoad) finish(t testing.TB) *stamp.Report {
	t.Helper()
	l.stop()
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	if l.rep.Errors != 0 || l.rep.Violations != 0 {
		t.Errorf("stamps: %v", l.rep)
	}
	if l.b.file == "" { // the target has no file that could be looked at
		return l.rep
	}
	f, err := os.Open(l.b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bad, err := l.checker.Verify(f)
	if err != nil || len(bad) != 0 {
		t.Errorf("backing file: %v, %v", bad, err)
	}
	return l.rep
}

// summary is a report in one line.
func summary(r *stamp.Report) string {
	return fmt.Sprintf("%d reads, %d writes, %d flushes in %v, %d errors, %d violations, longest stall %v",
		r.Reads.Ops, r.Writes.Ops, r.Flushes.Ops, r.Duration.Round(time.Millisecond), r.Errors, r.Violations, r.Stall.Gap.Round(time.Millisecond))
}

// quiet fails the test if any event since mark speaks of a fault: for control runs.
func (b *bed) quiet(t testing.TB, mark int) {
	t.Helper()
	if got := b.g.Events.Since(mark, gate.Kind("path-down", "path-slow", "failover", "all-paths-down", "session-down",
		"path-quarantined", "ghost-held", "fence-start", "flush-lost", "store-failed", "disk-unavailable")); len(got) > 0 {
		t.Errorf("nothing was broken, and this was told: %v", got)
	}
	for i, p := range b.proxies {
		if f := p.Counters().Faults; len(f) != 0 {
			t.Errorf("proxy %d had faults in a control run: %v", i, f)
		}
	}
}

// onPath matches events of a kind on one of the paths.
func onPath(kind string, paths []string) func(gate.Event) bool {
	return func(e gate.Event) bool { return e.Kind == kind && slices.Contains(paths, e.Path) }
}

// failedOver gives the failover that the loss of the paths led to. There is none
// when nothing was in flight on them at the moment of a short fault.
func (b *bed) failedOver(mark int, paths []string) (e gate.Event, ok bool) {
	gate.Poll(2*time.Second, func() bool {
		list := b.g.Events.Since(mark, onPath("failover", paths))
		if ok = len(list) > 0; ok {
			e = list[0]
		}
		return ok
	})
	return e, ok
}

// lost waits until each of the paths is told to be down, and nothing else is.
func (b *bed) lost(t testing.TB, mark int, paths []string, timeout time.Duration) {
	t.Helper()
	for _, name := range paths {
		b.g.Events.Wait(t, mark, timeout, onPath("path-down", []string{name}))
	}
	for _, e := range b.g.Events.Since(mark, gate.Kind("path-down")) {
		if !slices.Contains(paths, e.Path) {
			t.Errorf("a path that was not broken went down: %v", e)
		}
	}
}

// list joins durations, rounded, for the lines of figures.
func list(ds []time.Duration) string {
	var s []string
	for _, d := range ds {
		s = append(s, d.Round(100*time.Microsecond).String())
	}
	return strings.Join(s, " ")
}

func median(ds []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2]
}
