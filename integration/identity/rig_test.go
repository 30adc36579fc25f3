// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/multipath"
)

// memory is a store that forgets all at the end.
type memory struct {
	mu       sync.Mutex
	targets  map[string]int
	bindings map[string]string
	ghosts   map[string]multipath.GhostRecord
}

func newMemory() *memory {
	return &memory{targets: map[string]int{}, bindings: map[string]string{}, ghosts: map[string]multipath.GhostRecord{}}
}

func (s *memory) TargetNumber(target, portal string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := target + " " + portal
	if _, ok := s.targets[k]; !ok {
		s.targets[k] = len(s.targets)
	}
	return s.targets[k], nil
}

func (s *memory) BindName(name, identity string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.bindings[name]; ok && have != identity {
		return fmt.Errorf("%s is bound to %s", name, have)
	}
	s.bindings[name] = identity
	return nil
}

func (s *memory) Binding(name string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.bindings[name]
	return v, ok, nil
}

func key(g multipath.GhostRecord) string {
	return fmt.Sprint(g.Device, g.Path, g.Run, g.Generation, g.ITT, g.CmdSN)
}

func (s *memory) PutGhosts(list ...multipath.GhostRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range list {
		s.ghosts[key(g)] = g
	}
	return nil
}

func (s *memory) DeleteGhosts(list ...multipath.GhostRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range list {
		delete(s.ghosts, key(g))
	}
	return nil
}

func (s *memory) Ghosts() ([]multipath.GhostRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.ghosts)), nil
}

func (s *memory) SetPathDisabled(string, bool) error      { return nil }
func (s *memory) DisabledPaths() (map[string]bool, error) { return nil, nil }

func (s *memory) PutSelection(string, *multipath.Selection) error { return nil }

func (s *memory) Selection(string) (sel multipath.Selection, ok bool, err error) {
	return sel, false, nil
}

// events keeps what the manager told.
type events struct {
	mu   sync.Mutex
	list []multipath.Event
}

// Event implements multipath.Events.
func (l *events) Event(e multipath.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

func (l *events) count(k multipath.EventKind, path string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		if e.Kind == k && (path == "" || e.Path == path) {
			n++
		}
	}
	return n
}

// rig is a path manager with one adapter at some portals.
type rig struct {
	t   *testing.T
	m   *multipath.Manager
	log *events
}

// options change a rig before it starts.
type options struct {
	digest  iscsi.DigestMode
	timers  func(*multipath.Timers)
	change  func(*multipath.Config)
	allowed []netip.Prefix
}

func start(t *testing.T, o options, portals ...string) *rig {
	t.Helper()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:host", Adapter: "vmhba0", HeaderDigest: o.digest, DataDigest: o.digest,
		AllowedNetworks: o.allowed,
		ISID: func(_ string, _ uint16, portal string) ([6]byte, error) {
			return [6]byte{0x80, 1, 2, 3, 0, byte(slices.Index(portals, portal) + 1)}, nil
		},
		Timeouts: iscsi.Timeouts{
			NOPInterval: 5 * time.Second, NOPTimeout: 10 * time.Second, Login: 15 * time.Second, FenceLogin: 5 * time.Second, Command: 10 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: &events{}}
	cfg := multipath.Config{
		Adapters: []multipath.Adapter{{Name: "vmhba0", Connector: k}},
		Targets:  []multipath.Target{{Portals: portals}},
		Store:    newMemory(), Events: r.log, Run: 1,
		Timers: multipath.Timers{
			Failback: 100 * time.Millisecond, Probe: 100 * time.Millisecond, SlowProbe: 200 * time.Millisecond,
			Command: 10 * time.Second, Request: 30 * time.Second, Drain: 5 * time.Second,
		},
	}
	if o.timers != nil {
		o.timers(&cfg.Timers)
	}
	if o.change != nil {
		o.change(&cfg)
	}
	if r.m, err = multipath.New(cfg); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.m.Run(t.Context()) }()
	t.Cleanup(func() {
		_ = r.m.Close()
		<-ended // what a broken target leaves to fence is no fault here
	})
	return r
}

// poll waits for ok; what is what was waited for.
func (r *rig) poll(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(60 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s: %v", what, r.states())
		}
	}
}

// up waits for n paths in use.
func (r *rig) up(n int) {
	r.t.Helper()
	r.poll(fmt.Sprint(n, " paths in use"), func() bool { return r.used() == n })
}

func (r *rig) used() (n int) {
	for _, p := range r.m.Paths() {
		if p.Used {
			n++
		}
	}
	return n
}

func (r *rig) states() (list []string) {
	for _, p := range r.m.Paths() {
		list = append(list, p.Name+" "+p.Identity+" "+p.Health+" ("+p.Reason+")")
	}
	return list
}

func (r *rig) path(name string) multipath.PathInfo {
	for _, p := range r.m.Paths() {
		if p.Name == name {
			return p
		}
	}
	return multipath.PathInfo{}
}

// device is the only one.
func (r *rig) device() *multipath.Device {
	r.t.Helper()
	list := r.m.Devices()
	if len(list) != 1 {
		r.t.Fatalf("%d devices: %v", len(list), r.states())
	}
	return list[0]
}

// rescan is the command.
func (r *rig) rescan() {
	r.t.Helper()
	if err := r.m.Rescan(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// submit sends a request; its end comes on the channel.
func submit(d backends.Device, op backends.Op, off, n uint64, data []byte) (*backends.Request, <-chan backends.Result) {
	ch := make(chan backends.Result, 2)
	q := &backends.Request{Op: op, Offset: off, Length: n}
	q.Data.AppendBytes(data)
	q.Completer = backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { ch <- res })
	var b backends.Batch
	d.Submit(&b, []*backends.Request{q})
	b.Run()
	return q, ch
}

func (r *rig) wait(ch <-chan backends.Result) backends.Result {
	r.t.Helper()
	select {
	case res := <-ch:
		return res
	case <-time.After(60 * time.Second):
		r.t.Fatalf("a request has not ended: %v", r.states())
		panic("unreachable")
	}
}

func (r *rig) write(d backends.Device, off int, p []byte) backends.Result {
	r.t.Helper()
	_, ch := submit(d, backends.Write, uint64(off), uint64(len(p)), p)
	return r.wait(ch)
}

// read reads 4 KiB.
func (r *rig) read(d backends.Device, off int) ([]byte, backends.Result) {
	r.t.Helper()
	q, ch := submit(d, backends.Read, uint64(off), 4096, nil)
	res := r.wait(ch)
	defer q.Data.Release()
	return append([]byte(nil), q.Data.Bytes()...), res
}

func (r *rig) flush(d backends.Device) backends.Result {
	r.t.Helper()
	_, ch := submit(d, backends.Flush, 0, 0, nil)
	return r.wait(ch)
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>9)*31 ^ byte(i) ^ seed
	}
	return p
}
