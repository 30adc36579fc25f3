// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
)

// errTooMany: a device has all the paths that it can have.
var errTooMany = errors.New("the device has 64 paths already")

// firstWait bounds how long a port waits for those before it to have their
// first outcome, so that a first run numbers things in the order of the
// configuration and not of the network.
const firstWait = 500 * time.Millisecond

// adopt makes a path of lun at pt, and a device if f's identity is a new one.
func (m *Manager) adopt(pt *port, lun uint16, f facts) (*Path, error) {
	m.awaitEarlier(pt)
	var b backends.Batch
	out := newOutbox()
	m.adopting.Lock()
	p, err := m.join(&b, out, pt, lun, f)
	m.adopting.Unlock()
	if err != nil {
		return nil, err
	}
	p.dev.send(&b, out)
	b.Run()
	return p, nil
}

// join is adopt under the lock.
func (m *Manager) join(b *backends.Batch, out *outbox, pt *port, lun uint16, f facts) (*Path, error) {
	name := pt.pathName(lun)
	key := f.identity.ID
	if f.identity.Weak && !m.rule(key, name).MergeWeak {
		key += "@" + pt.target
	}
	m.mu.Lock()
	d := m.byKey[key]
	m.mu.Unlock()
	first := d == nil
	if first {
		var err error
		if d, err = m.newDevice(key, name, f); err != nil {
			return nil, err
		}
	}
	p := &Path{name: name, port: pt, lun: lun, sess: pt.nexus.Session(lun), dev: d, changed: time.Now()}
	if m.disabled[name] {
		p.health, p.reason = Disabled, "by the administrator"
	}
	// pt.mu first, as everywhere, so that no Up or Down is missed.
	pt.mu.Lock()
	d.mu.Lock()
	if p.slot = d.placeForLocked(); p.slot < 0 {
		d.mu.Unlock()
		pt.mu.Unlock()
		return nil, errTooMany
	}
	p.live, p.gen, p.proving = pt.up && pt.login.Route.Own(), pt.login.Generation, true
	p.tag = pt.tag
	d.paths[p.slot] = p
	d.serverOf(p)
	if d.base.differs(&f) == "" {
		p.facts = f
	}
	out.change |= d.informLocked()
	d.pathsChangedLocked(b, out, time.Now())
	pt.paths[lun] = p
	pt.maskJoinedLocked(b, out, p, &f)
	d.mu.Unlock()
	pt.mu.Unlock()
	if first {
		m.mu.Lock()
		m.byKey[key] = d
		m.list = append(m.list[:len(m.list):len(m.list)], d)
		m.mu.Unlock()
		m.wg.Go(func() { d.run(m.devices) })
		d.wakeFencers()
		out.event(Event{Kind: DeviceAdded, Device: d.name, Path: name, Reason: d.identity.ID})
	}
	return p, nil
}

// newDevice makes a device that has no path yet, with what earlier runs left.
// Caller holds adopting.
func (m *Manager) newDevice(key, name string, f facts) (*Device, error) {
	// The name is that of the first path ever; the store remembers it, unless
	// the name was given to another LUN.
	memo := "device " + key
	if bound, ok, err := m.cfg.Store.Binding(memo); err != nil {
		return nil, fmt.Errorf("name of %s: %w", key, err)
	} else if ok {
		name = bound
	}
	if err := m.cfg.Store.BindName(name, f.identity.ID); err != nil {
		name = key
	}
	if err := m.cfg.Store.BindName(memo, name); err != nil {
		return nil, fmt.Errorf("name of %s: %w", key, err)
	}
	rule := m.rule(f.identity.ID, name)
	rule.Marginal.fill()
	selection, set, err := m.selectionOf(key, &rule)
	if err != nil {
		return nil, err
	}
	d := &Device{
		m: m, identity: f.identity, key: key, name: name, rule: rule, timers: &m.cfg.Timers,
		kick: make(chan struct{}, 1), fencing: make(chan struct{}, 1), reserving: make(chan struct{}, 1), base: f, pools: map[string]*backends.Pool{},
	}
	d.freed = d.freedLocked
	d.downSince = time.Now()
	d.nextDue, d.timerOn = d.downSince.Add(d.timers.Request), true
	if q := rule.Quiesce; q > 0 && q < d.timers.Request {
		d.nextDue = d.downSince.Add(q)
	}
	d.selection, d.selectionSet = selection, set
	d.sel = selection.newSelector(&d.vms)
	now := time.Now()
	for _, rec := range m.earlier[key] {
		pt, lun := m.portOf(rec.Path)
		key, err := m.registration(d, rec.Path, rec.Run, rec.Generation)
		if err != nil {
			return nil, err
		}
		d.adoptGhostLocked(rec, key, pt, lun, now)
	}
	delete(m.earlier, key)
	d.informLocked()
	return d, nil
}

// portOf finds the port that a path's name stands for; nil: there is none yet.
func (m *Manager) portOf(path string) (*port, uint16) {
	adapter, number, lun, ok := parsePath(path)
	if !ok {
		return nil, 0
	}
	for _, pt := range m.portList() {
		if pt.adapter.Name == adapter && pt.number == number {
			return pt, lun
		}
	}
	return nil, lun
}

// attachGhosts gives ghosts of an earlier run to the port that can fence them.
func (d *Device) attachGhosts(pt *port) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.ghosts {
		adapter, number, _, ok := parsePath(g.path)
		if g.port == nil && ok && adapter == pt.adapter.Name && number == pt.number {
			g.port = pt
		}
	}
}

// agree tells in what f, found on p, is not d's logical unit; "" when it is.
// sized: a unit attention has announced another capacity (H11).
func (d *Device) agree(p *Path, f *facts, sized bool) string {
	d.mu.Lock()
	newcomer := p.facts.block == 0
	why := d.base.differs(f)
	if why != "" && !newcomer && d.base.grownTo(f) {
		p.facts.size, p.sized = f.size, p.sized || sized || !d.used && d.shownLocked(f)
		if p.sized || d.allGrownLocked(f.size) {
			why = "" // larger than it is used; see growLocked
		}
	}
	p.strange = nil
	if why != "" && newcomer {
		shown := *f
		p.strange = &shown
	}
	if why == "" && !d.used {
		if i := slices.IndexFunc(d.paths, func(o *Path) bool { return o.strange != nil && o.strange.differs(f) != "" }); i >= 0 {
			why = d.paths[i].name + " shows the same identity and is another"
			newcomer = false
		}
	}
	var others []*Path
	if why != "" && newcomer && !d.used { // nobody knows which is right
		others = d.othersLocked(p)
	}
	grown := d.base.grownTo(f)
	d.mu.Unlock()
	for _, o := range others {
		o.port.refuse(o, fmt.Sprintf("%s shows the same identity and is another: %s", p.name, why))
	}
	if grown { // the others may have grown, too
		proveAgain(others)
	}
	return why
}

// shownLocked tells whether a path has shown f when it contradicted the others.
func (d *Device) shownLocked(f *facts) bool {
	return slices.ContainsFunc(d.paths, func(o *Path) bool { return o.strange != nil && o.strange.differs(f) == "" })
}

func (d *Device) othersLocked(p *Path) []*Path {
	return slices.DeleteFunc(slices.Clone(d.paths), func(o *Path) bool { return o == p || o.left })
}

// growLocked makes d as large as p, which was just proved, if all paths are: their
// sessions know it already. It gives those that may be good again by that.
func (d *Device) growLocked(p *Path) []*Path {
	if !d.base.grownTo(&p.facts) || !d.allGrownLocked(p.facts.size) {
		return nil
	}
	d.base.size = p.facts.size
	for _, o := range d.paths {
		o.sized = false
	}
	return d.othersLocked(p)
}

// allGrownLocked tells whether every path that is logged in shows that size, and
// a target has announced it.
func (d *Device) allGrownLocked(size uint64) bool {
	announced := false
	for _, p := range d.paths {
		shown := p.facts.size
		if p.strange != nil {
			shown = p.strange.size
		}
		if p.live && p.health != Disabled && p.swapped == "" && shown != size {
			return false
		}
		announced = announced || p.sized
	}
	return announced
}

// awaitEarlier waits a little for the ports that come before pt.
func (m *Manager) awaitEarlier(pt *port) {
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	for _, o := range m.portList() {
		if o.before(pt) {
			select {
			case <-o.first:
			case <-timer.C:
				return
			case <-m.work.Done():
				return
			}
		}
	}
}

// before orders ports as their names are.
func (pt *port) before(o *port) bool {
	return pt != o && comparePaths(pt.pathName(0), o.pathName(0)) < 0
}
