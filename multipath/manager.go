// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
)

// Manager finds LUNs and their paths and keeps both. Make it with New. All
// methods are safe for concurrent use, and none but Run, Close and Rescan waits
// for the network.
type Manager struct {
	cfg        Config
	keeper     keeper
	incidents  *incidents
	gatewayKey uint32                   // see key.go; only read once Run has begun
	nexuses    map[string]int           // numbers of nexuses in keys; guarded by adopting
	disabled   map[string]bool          // paths that join so; guarded by adopting
	earlier    map[string][]GhostRecord // by device: what an earlier run left; guarded by adopting

	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed at the end of Run
	wg      sync.WaitGroup
	work    context.Context // of ports and discovery
	devices context.Context // of the devices' timers
	seekers []*seeker       // one per discovery

	claims   atomic.Pointer[ClaimRules]
	adopting sync.Mutex // one new path at a time; held over the store

	mu      sync.Mutex
	running bool
	closing bool
	ports   []*port
	list    []*Device
	byKey   map[string]*Device
}

// ErrClosed: the Manager was closed, or was run before.
var ErrClosed = errors.New("path manager is closed")

// New makes a Manager of cfg, which is kept. Nothing happens before Run.
func New(cfg Config) (*Manager, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("multipath: %w", err)
	}
	cfg.Timers.fill()
	m := &Manager{
		cfg: cfg, stop: make(chan struct{}), stopped: make(chan struct{}),
		byKey: map[string]*Device{}, earlier: map[string][]GhostRecord{}, nexuses: map[string]int{},
	}
	m.claims.Store(&m.cfg.Claims)
	m.incidents = newIncidents()
	m.keeper = keeper{m: m, kick: make(chan struct{}, 1)}
	return m, nil
}

func (m *Manager) event(e Event) {
	e.Time = time.Now()
	m.cfg.Events.Event(e)
}

func (m *Manager) rule(names ...string) Rule {
	if m.cfg.Rule == nil {
		return Rule{}
	}
	return m.cfg.Rule(names...)
}

// Run logs in everywhere and serves, until ctx ends or Close is called. Then it
// drains the devices, logs out, and returns when nothing of it runs any more.
// Once only. An error tells what could not be read from the store, or what is
// left for the next run to fence.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.running || m.closing {
		m.mu.Unlock()
		return ErrClosed
	}
	m.running = true
	m.mu.Unlock()
	defer close(m.stopped)
	if err := m.load(); err != nil {
		return err
	}
	// Values of ctx stay; its end is the beginning of an orderly stop.
	base := context.WithoutCancel(ctx)
	work, endWork := context.WithCancel(base)
	defer endWork()
	devices, endDevices := context.WithCancel(base)
	defer endDevices()
	m.work, m.devices = work, devices

	var kept sync.WaitGroup
	kept.Go(m.keeper.run)
	m.wg.Go(func() { m.watchIncidents(work) })
	m.discoverAll()
	m.revive()
	select {
	case <-ctx.Done():
	case <-m.stop:
	}
	err := m.shutdown(endWork)
	endDevices()
	m.wg.Wait()
	for _, pt := range m.portList() {
		pt.retire() // what was taken into use to the last
	}
	m.keeper.close()
	kept.Wait()
	return err
}

// load reads what earlier runs left.
func (m *Manager) load() error {
	salt, err := m.salt()
	if err != nil {
		return err
	}
	m.gatewayKey = gatewayPart(salt)
	if m.disabled, err = m.cfg.Store.DisabledPaths(); err != nil {
		return fmt.Errorf("disabled paths: %w", err)
	}
	ghosts, err := m.cfg.Store.Ghosts()
	if err != nil {
		return fmt.Errorf("ghosts of earlier runs: %w", err)
	}
	for _, g := range ghosts {
		m.earlier[g.Device] = append(m.earlier[g.Device], g)
	}
	return nil
}

// shutdown drains, logs out, and clears the records of what ended cleanly.
func (m *Manager) shutdown(endWork func()) error {
	m.mu.Lock()
	m.closing = true
	list, ports := slices.Clone(m.list), slices.Clone(m.ports)
	m.mu.Unlock()
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, d := range list {
		wg.Go(func() { errs[i] = d.Close() })
	}
	wg.Wait()
	endWork()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.work), m.cfg.Timers.Drain)
	defer cancel()
	fails := make([]error, len(ports))
	for i, pt := range ports {
		wg.Go(func() {
			pt.unmark(ctx)
			if err := pt.nexus.Close(ctx); err != nil {
				fails[i] = fmt.Errorf("log out of %s at %s: %w", pt.target, pt.portal, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, fails...)...)
}

// Close stops Run, and waits for its end. Twice is safe, without Run too.
func (m *Manager) Close() error {
	m.mu.Lock()
	if !m.closing {
		m.closing = true
	}
	running := m.running
	select {
	case <-m.stop:
	default:
		close(m.stop)
	}
	m.mu.Unlock()
	if running {
		<-m.stopped
	}
	return nil
}

// Devices gives the devices in order of their names' making.
func (m *Manager) Devices() []*Device {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list[:len(m.list):len(m.list)]
}

// Paths gives all paths, by name of adapter, target number and LUN.
func (m *Manager) Paths() []PathInfo {
	var all []PathInfo
	for _, d := range m.Devices() {
		all = append(all, d.Paths()...)
	}
	slices.SortFunc(all, func(a, b PathInfo) int { return comparePaths(a.Name, b.Name) })
	return all
}

func comparePaths(a, b string) int {
	adapterA, targetA, lunA, _ := parsePath(a)
	adapterB, targetB, lunB, _ := parsePath(b)
	switch {
	case adapterA != adapterB:
		return strings.Compare(adapterA, adapterB)
	case targetA != targetB:
		return targetA - targetB
	}
	return int(lunA) - int(lunB)
}

// Lookup errors.
var (
	ErrNotFound = errors.New("no such device")
	ErrMoved    = errors.New("another LUN is there now")
	// ErrAmbiguous: several devices show this weak identity; their names differ.
	ErrAmbiguous = errors.New("several devices have this identity")
)

// Lookup finds a device by canonical name, identity, alias or the name of any
// of its paths. A path's name is bound at the first look: when later another
// identity is there, the answer is ErrMoved, since data would go to another LUN.
func (m *Manager) Lookup(name string) (*Device, error) {
	if m.cfg.Alias != nil {
		name = cmp.Or(m.cfg.Alias(name), name)
	}
	bound, isBound, err := m.cfg.Store.Binding(name)
	if err != nil {
		return nil, fmt.Errorf("binding of %s: %w", name, err)
	}
	found, byPath, err := m.find(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case found == nil:
		return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
	case isBound && bound != found.identity.ID:
		return nil, fmt.Errorf("%s was bound to %s, and %s is there: %w", name, bound, found.identity.ID, ErrMoved)
	case byPath && !isBound:
		if err := m.cfg.Store.BindName(name, found.identity.ID); err != nil {
			return nil, fmt.Errorf("bind %s: %w", name, err)
		}
	}
	return found, nil
}

// find gives the device of that name, if there is one, and whether the name is
// that of a path only.
func (m *Manager) find(name string) (found *Device, byPath bool, err error) {
	list := m.Devices()
	for _, d := range list {
		switch {
		case name == d.name || name == d.key || name == d.rule.Alias:
			return d, false, nil
		case name == d.identity.ID:
			if found != nil {
				return nil, false, ErrAmbiguous
			}
			found = d
		}
	}
	// A path may have gone to another device, and left its name to the one that was
	// named after it.
	for _, d := range list {
		if found == nil && d.hasPath(name) {
			return d, true, nil
		}
	}
	return found, false, nil
}

// SetPathEnabled takes a path out of use, or lets it be used again, and keeps
// that over restarts. What is in flight on it ends by itself. The last path of
// a device may be disabled too: its requests then wait.
func (m *Manager) SetPathEnabled(name string, enabled bool) error {
	for _, d := range m.Devices() {
		p := d.path(name)
		if p == nil {
			continue
		}
		if err := m.keepDisabled(name, !enabled); err != nil {
			return err
		}
		e := EventDisable
		if enabled {
			e = EventEnable
		}
		p.port.change(p, e, "by the administrator", false)
		p.port.wake()
		return nil
	}
	return fmt.Errorf("path %s: %w", name, ErrNotFound)
}

// keepDisabled keeps an administrator's decision, for the next start, and for the path
// if it leaves its device and joins one again.
func (m *Manager) keepDisabled(path string, disabled bool) error {
	m.adopting.Lock()
	defer m.adopting.Unlock()
	if err := m.cfg.Store.SetPathDisabled(path, disabled); err != nil {
		return fmt.Errorf("path %s: %w", path, err)
	}
	m.disabled[path] = disabled
	return nil
}

func (m *Manager) portList() []*port {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ports[:len(m.ports):len(m.ports)]
}

// ensurePort gives the port of an adapter at a target portal, made and logging
// in when there is none.
func (m *Manager) ensurePort(a *Adapter, spec *Target, tp backends.TargetPortal) (*port, error) {
	m.adopting.Lock()
	defer m.adopting.Unlock()
	beside := 0
	for _, pt := range m.portList() {
		if pt.adapter == a && pt.portal == tp.Portal {
			beside++
		}
		if pt.adapter == a && pt.target == tp.Target && pt.portal == tp.Portal {
			pt.mu.Lock()
			pt.unlisted = time.Time{}
			pt.mu.Unlock()
			return pt, nil
		}
	}
	if beside >= maxTargets {
		return nil, fmt.Errorf("%s at %s: %w", tp.Target, tp.Portal, errTooManyTargets)
	}
	n, err := m.cfg.Store.TargetNumber(tp.Target, tp.Portal)
	if err != nil {
		return nil, fmt.Errorf("number of %s at %s: %w", tp.Target, tp.Portal, err)
	}
	nexus, err := m.nexusNumber(a.Name, n)
	if err != nil {
		return nil, fmt.Errorf("number of %s at %s: %w", a.Name, tp.Target, err)
	}
	c := a.Connector
	if o := spec.Connectors[a.Name]; o != nil {
		c = o
	}
	pt := &port{
		m: m, adapter: a, connector: c, spec: spec, target: tp.Target, portal: tp.Portal, number: n, nexusNumber: nexus,
		kick: make(chan struct{}, 1), paths: map[uint16]*Path{}, attn: map[uint16]bool{}, sized: map[uint16]bool{},
		told: map[uint16]string{}, next: map[uint16]probeDue{},
		helpless: map[*Device]bool{},
		first:    make(chan struct{}), tag: tp.GroupTag, tagKnown: tp.GroupTag != 0,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing {
		return nil, ErrClosed
	}
	m.ports = append(m.ports[:len(m.ports):len(m.ports)], pt)
	pt.mu.Lock() // Up may come before nexus is set
	pt.nexus = c.Connect(tp, pt)
	pt.mu.Unlock()
	for _, d := range m.list {
		d.attachGhosts(pt)
	}
	m.wg.Go(func() { pt.run(m.work) })
	return pt, nil
}
