// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// memStore is a Store in memory. It survives a Manager, as a file would.
type memStore struct {
	mu       sync.Mutex
	targets  map[string]int
	bindings map[string]string
	ghosts   map[string]GhostRecord
	off      map[string]bool
	selected map[string]Selection
	puts     int
	fail     error
	gate     chan struct{} // if not nil, PutGhosts waits for it
	opens    time.Duration // a record of a path in use takes so long
}

func newMemStore() *memStore {
	return &memStore{targets: map[string]int{}, bindings: map[string]string{}, ghosts: map[string]GhostRecord{}, off: map[string]bool{}, selected: map[string]Selection{}}
}

// clone is what a killed run leaves.
func (s *memStore) clone() *memStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := newMemStore()
	maps.Copy(c.targets, s.targets)
	maps.Copy(c.bindings, s.bindings)
	maps.Copy(c.ghosts, s.ghosts)
	maps.Copy(c.off, s.off)
	maps.Copy(c.selected, s.selected)
	return c
}

func (s *memStore) TargetNumber(target, portal string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := target + " " + portal
	if n, ok := s.targets[k]; ok {
		return n, nil
	}
	s.targets[k] = len(s.targets)
	return s.targets[k], nil
}

func (s *memStore) BindName(name, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.bindings[name]; ok && have != id {
		return fmt.Errorf("%s is bound to %s", name, have)
	}
	s.bindings[name] = id
	return nil
}

func (s *memStore) Binding(name string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.bindings[name]
	return id, ok, nil
}

func ghostKey(g GhostRecord) string {
	return fmt.Sprint(g.Device, g.Path, g.Run, g.Generation, g.ITT, g.CmdSN)
}

func (s *memStore) PutGhosts(list ...GhostRecord) error {
	s.mu.Lock()
	gate, opens := s.gate, s.opens
	s.mu.Unlock()
	if list[0].ITT == openITT {
		time.Sleep(opens)
	}
	if gate != nil && list[0].ITT != openITT {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, g := range list {
		s.ghosts[ghostKey(g)] = g
		s.puts++
	}
	return nil
}

func (s *memStore) DeleteGhosts(list ...GhostRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range list {
		delete(s.ghosts, ghostKey(g))
	}
	return nil
}

func (s *memStore) Ghosts() ([]GhostRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []GhostRecord
	for _, g := range s.ghosts {
		list = append(list, g)
	}
	return list, nil
}

func (s *memStore) SetPathDisabled(path string, disabled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.off, path)
	if disabled {
		s.off[path] = true
	}
	return nil
}

func (s *memStore) DisabledPaths() (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]bool{}
	for k := range s.off {
		m[k] = true
	}
	return m, nil
}

func (s *memStore) PutSelection(device string, sel *Selection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	delete(s.selected, device)
	if sel != nil {
		s.selected[device] = *sel
	}
	return nil
}

func (s *memStore) Selection(device string) (Selection, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sel, ok := s.selected[device]
	return sel, ok, nil
}

// eventLog is an Events that keeps all.
type eventLog struct {
	mu   sync.Mutex
	list []Event
}

func (l *eventLog) Event(e Event) {
	l.mu.Lock()
	l.list = append(l.list, e)
	l.mu.Unlock()
}

// of gives the events of a kind, when all that goes on in the bubble has settled:
// events come after the completions that they go with.
func (l *eventLog) of(k EventKind) (found []Event) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		if e.Kind == k {
			found = append(found, e)
		}
	}
	return found
}

// all is a copy, to print.
func (l *eventLog) all() []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// bed is a Manager on a fake network.
type bed struct {
	t      *testing.T
	net    *fakeNet
	m      *Manager
	store  *memStore
	events *eventLog
	cfg    Config
	ended  chan error
}

// target and adapters of most tests: two portals, two adapters.
const iqn = "iqn.2026-11.test:a"

func portals(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("10.0.0.%d:3260", i+1))
	}
	return list
}

func (bd *bed) config() Config {
	return Config{
		Adapters: []Adapter{
			{Name: "vmhba0", Connector: &fakeConnector{net: bd.net, name: "vmhba0"}},
			{Name: "vmhba1", Connector: &fakeConnector{net: bd.net, name: "vmhba1"}},
		},
		Targets: []Target{{Portals: slices.Sorted(maps.Keys(bd.net.portals))}},
		Store:   bd.store, Events: bd.events, Run: 1,
	}
}

// newBed makes the network's other side; start runs a Manager.
func newBed(t *testing.T) *bed {
	return &bed{t: t, net: newFakeNet(), store: newMemStore()}
}

func (bd *bed) start(change func(*Config)) {
	bd.t.Helper()
	bd.launch(change)
	time.Sleep(20 * time.Millisecond) // of the bubble: logins, scan
	synctest.Wait()
}

// launch is start without the wait.
func (bd *bed) launch(change func(*Config)) {
	bd.t.Helper()
	bd.events = &eventLog{}
	bd.cfg = bd.config()
	if change != nil {
		change(&bd.cfg)
	}
	m, err := New(bd.cfg)
	if err != nil {
		bd.t.Fatal(err)
	}
	ended := make(chan error, 1)
	bd.m, bd.ended = m, ended
	go func() { ended <- m.Run(context.Background()) }()
}

// stop ends the Manager and checks that nothing is left.
func (bd *bed) stop() {
	bd.t.Helper()
	if err := bd.m.Close(); err != nil {
		bd.t.Error(err)
	}
	if err := <-bd.ended; err != nil {
		bd.t.Errorf("Run: %v", err)
	}
	time.Sleep(time.Minute) // timers of the fake
}

// device is the only one.
func (bd *bed) device() *Device {
	bd.t.Helper()
	list := bd.m.Devices()
	if len(list) != 1 {
		bd.t.Fatalf("got %d devices, want 1; paths %+v", len(list), bd.m.Paths())
	}
	return list[0]
}

// usable counts the paths in use.
func (bd *bed) used() (n int) {
	for _, p := range bd.m.Paths() {
		if p.Used {
			n++
		}
	}
	return n
}

// call is one request and its end.
type call struct {
	r    backends.Request
	res  backends.Result
	done chan struct{}
	ends int
	at   time.Time
}

func (c *call) Complete(_ *backends.Batch, _ *backends.Request, res backends.Result) {
	c.ends++
	if c.ends == 1 {
		c.res, c.at = res, time.Now()
		close(c.done)
	}
}

// ended tells whether it has completed.
func (c *call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *call) wait() backends.Result {
	<-c.done
	return c.res
}

func newCall(op backends.Op, off, n uint64, fill byte) *call {
	c := &call{done: make(chan struct{})}
	c.r = backends.Request{Op: op, Offset: off, Length: n, Completer: c}
	if op == backends.Write {
		c.r.Data.AppendBytes(pattern(fill, int(n)))
	}
	return c
}

func pattern(fill byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = fill
	}
	return p
}

// do submits and does not wait.
func do(d backends.Device, calls ...*call) {
	var b backends.Batch
	var reqs []*backends.Request
	for _, c := range calls {
		reqs = append(reqs, &c.r)
	}
	d.Submit(&b, reqs)
	b.Run()
}

func write(d backends.Device, off, n uint64, fill byte) *call {
	c := newCall(backends.Write, off, n, fill)
	do(d, c)
	return c
}

func read(d backends.Device, off, n uint64) *call {
	c := newCall(backends.Read, off, n, 0)
	do(d, c)
	return c
}

// mustRead reads and compares each byte.
func mustRead(t *testing.T, d backends.Device, off, n uint64, fill byte) {
	t.Helper()
	c := read(d, off, n)
	if res := c.wait(); !res.OK() {
		t.Fatalf("read at %d: %v", off, res.Err())
	}
	got := c.r.Data.Bytes()
	if len(got) != int(n) {
		t.Fatalf("read at %d: %d bytes, want %d", off, len(got), n)
	}
	for i, v := range got {
		if v != fill {
			t.Fatalf("read at %d: byte %d is %d, want %d", off, i, v, fill)
		}
	}
	c.r.Data.Release()
}

// mustOK waits for calls.
func mustOK(t *testing.T, calls ...*call) {
	t.Helper()
	for _, c := range calls {
		if res := c.wait(); !res.OK() {
			t.Errorf("%v at %d: %v", c.r.Op, c.r.Offset, res.Err())
		}
	}
}

// oneDisk is the usual bed: one target process, two portals, two adapters, one
// LUN: four paths.
func oneDisk(t *testing.T, change func(*Config)) (*bed, *fakeServer, *fakeLUN) {
	bd := newBed(t)
	s := bd.net.server(iqn, portals(2)...)
	l := s.addLUN(1, newMedium(), naa(1))
	bd.start(change)
	if n := bd.used(); n != 4 {
		t.Fatalf("got %d paths in use, want 4: %+v", n, bd.m.Paths())
	}
	return bd, s, l
}
