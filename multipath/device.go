// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Credits of one flow until the scheduler above hands out its own.
const (
	poolCommands = 1024
	poolBytes    = 64 << 20
)

// Device is one LUN over all its paths. It implements backends.LUN. Devices are
// made by the Manager and live as long as it does, also while no path is left.
type Device struct {
	m         *Manager
	identity  scsi.Identity
	key       string // identity, with the target name where it is weak
	name      string // canonical name
	rule      Rule
	timers    *Timers
	watchers  backends.Watchers
	info      atomic.Pointer[backends.Info]
	kick      chan struct{} // wakes the timer goroutine
	fencing   chan struct{} // holds one, whose owner may send a LOGICAL UNIT RESET
	reserving chan struct{} // holds one, whose owner may take part in the reservation
	freed     func(*change)

	selecting sync.Mutex // one SetSelector at a time; held over the store, before mu

	mu      sync.Mutex
	paths   []*Path // by slot
	inUse   PathSet // the paths of the group in use
	sel     Selector
	vms     vmTable
	obs     backends.Observer
	base    facts // what all paths have to agree on
	used    bool  // has carried a request
	closed  bool
	born    bool // a path has been up
	noCache bool // no path's LUN has a write cache
	barred  bool // somebody else has reserved the LUN: no changes
	lacks   lacking
	reserve reserveNote
	// takenAway are our keys that were taken away from ghosts that are not fenced yet.
	takenAway []uint64

	selection    Selection // what sel was made of
	selectionSet bool      // by an administrator

	// capacity is as last told to the observer, or would have been.
	capacity Capacity

	order               orderTable
	ghosts              []*ghost
	fences              []FenceCount // by method, in the order of the first
	servers             []*server
	debt                spans // acknowledged changes that may be lost
	firstTask, lastTask *task
	ntasks              int
	ready               []*task
	resets              []*reset
	freeTask            *task
	freeAttempt         *attempt
	drained             chan struct{} // closed when held paths have nothing in flight

	groups   []*portGroup // by id
	reported time.Time    // when the newest report of them was asked for
	ask      groupAsk

	choice     choice
	pin        uint16 // the port group of choice.pinned
	wish       *wish
	failback   failback
	calm       calm
	mover      mover
	moved      bool          // the event of the present move was told
	transition time.Duration // as the target told it last; 0: not told
	groupsUsed []uint16      // the port groups that were in use last
	groupGone  time.Time     // when none was any more
	goneBy     string        // and why
	candidates []candidate   // scratch
	states     []groupState  // likewise

	suspended *suspension // nil: it is not
	queueing  Queueing
	downSince time.Time           // no path; zero: there is one
	downMask  int                 // the rule for which that was told; 0: it was told as a fault
	leftMask  int                 // the rule for which the last path that has left did so; 0: not for one
	waited    backends.PathWait   // so much of requests' waits is over; 0: a path lives
	waits     []backends.PathWait // those to be expected, in order
	refusing  backends.PathWait   // as the observer was told
	gone      bool                // the LUN does not exist on any path
	nextWake  time.Time           // of parked tasks, a lower bound
	nextDue   time.Time           // of deadlines, a lower bound; zero: none
	timerOn   bool                // the timer goroutine will look by itself
	judgeAt   time.Time           // compare the paths' latencies; zero: no I/O since the last time
	graceTo   time.Time           // we stalled: no deadline counts before
	pools     map[string]*backends.Pool
	idle      chan struct{} // closed when the last completion was delivered; nil: nobody waits
	closing   int           // completions since Close that were not delivered yet
}

var _ backends.LUN = (*Device)(nil)

// Name is the canonical name: that of the device's first path (the patent, par.
// 0084), or its identity when that name stands for another LUN.
func (d *Device) Name() string { return d.name }

// Key is the identity, with the target's name where it is weak: it stands for one
// device only.
func (d *Device) Key() string { return d.key }

// Identity is the LUN's designator, "naa.6001405...".
func (d *Device) Identity() string { return d.identity.ID }

// Info implements backends.Device: the weakest of all paths that are known.
func (d *Device) Info() backends.Info { return *d.info.Load() }

// Watch implements backends.Device.
func (d *Device) Watch(fn func(backends.Change)) (stop func()) { return d.watchers.Watch(fn) }

// Observe implements backends.LUN.
func (d *Device) Observe(o backends.Observer) {
	var b backends.Batch
	d.mu.Lock()
	d.obs = o
	d.tellCapacityLocked(&b, true)
	if d.refusing != 0 {
		o.Refusing(&b, d.refusing)
	}
	d.mu.Unlock()
	b.Run()
}

// Grant implements backends.Device.
func (d *Device) Grant(o *backends.Origin) *backends.Grant {
	var key string
	if o != nil {
		key = o.VM
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pools[key]
	if p == nil {
		p = backends.NewPool(poolCommands, poolBytes)
		d.pools[key] = p
	}
	return backends.NewGrant(poolCommands, p)
}

// Submit implements backends.Device.
func (d *Device) Submit(b *backends.Batch, reqs []*backends.Request) {
	out := newOutbox()
	now := time.Now()
	info := d.info.Load()
	d.mu.Lock()
	for _, r := range reqs {
		d.acceptLocked(b, out, info, r, now)
	}
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

func (d *Device) acceptLocked(b *backends.Batch, out *outbox, info *backends.Info, r *backends.Request, now time.Time) {
	if d.closed {
		b.Complete(r, backends.Failed(backends.Aborted))
		return
	}
	if res := info.Check(r); !res.OK() {
		b.Complete(r, res)
		return
	}
	t := d.newTaskLocked(r, now)
	r.Lower = t
	d.dueLocked(out, t.deadline)
	if r.Op == backends.Flush {
		d.startFlushLocked(b, out, t, now)
		return
	}
	if r.Op.Changes() {
		t.c = d.order.add(t.off, t.end, t)
		if t.c.blockers > 0 {
			d.parkBehindLocked(b, t)
			return
		}
	}
	d.routeLocked(b, out, t, now)
}

// routeLocked sends t on a path, or parks or ends it.
func (d *Device) routeLocked(b *backends.Batch, out *outbox, t *task, now time.Time) {
	if t.ending {
		d.finishLocked(b, out, t, backends.Failed(backends.Aborted), now)
		return
	}
	if d.suspended != nil {
		d.parkLocked(b, t, backends.ParkSuspended, backends.Range{})
		return
	}
	if d.barred && t.req.Op.Changes() && !t.phase2 {
		d.finishLocked(b, out, t, d.giveUpLocked(t, backends.ReservationConflict), now)
		return
	}
	avoid := t.tried
	if t.server != nil {
		avoid |= ^d.flushPathsLocked(t.server)
	}
	slot := t.pin - 1
	t.pin = 0
	if slot < 0 || avoid.Has(slot) || !d.inUse.Has(slot) {
		slot = d.sel.Select(d.demandLocked(t, avoid, now))
	}
	if slot < 0 {
		d.noRouteLocked(b, out, t, avoid, now)
		return
	}
	d.unparkLocked(b, t)
	d.launchLocked(b, out, t, d.paths[slot], now)
}

// noRouteLocked is for t when no path in use is left for it.
func (d *Device) noRouteLocked(b *backends.Batch, out *outbox, t *task, avoid PathSet, now time.Time) {
	// Paths outside the group in use may still serve a request that failed on all
	// inside.
	if rest := d.usableLocked() &^ d.inUse &^ avoid; rest != 0 {
		d.unparkLocked(b, t)
		d.launchLocked(b, out, t, d.paths[rest.first()], now)
		return
	}
	if t.server != nil && len(d.debt) > 0 {
		d.finishLocked(b, out, t, flushLostResult(t), now)
		return
	}
	switch {
	case d.closed && d.downLocked():
		d.finishLocked(b, out, t, d.giveUpLocked(t, backends.Aborted), now)
	case d.refusesLocked(t):
		d.finishLocked(b, out, t, d.giveUpLocked(t, backends.NoPath), now)
	case d.usableLocked()&^avoid == 0 && d.usableLocked()&^d.avoidServerLocked(t) != 0:
		// Each path has failed it once. Wait a little and begin again.
		d.retryLocked(b, out, t, backends.ParkBusy, now)
		t.tried = 0
	default:
		reason := backends.ParkNoPath
		for _, p := range d.paths {
			switch {
			case p.held && p.live && p.health.Carries():
				reason = backends.ParkReset
			case p.proving && p.live && p.health.Carries() && reason == backends.ParkNoPath:
				reason = backends.ParkBusy
			case !p.access.Serves() && p.live && p.health.Carries() && reason == backends.ParkNoPath:
				reason = backends.ParkTransition
			}
		}
		t.wake = time.Time{} // until the paths change
		d.waitDueLocked(out, d.waitLocked(t))
		d.parkLocked(b, t, reason, backends.Range{})
	}
}

func (d *Device) avoidServerLocked(t *task) PathSet {
	if t.server == nil {
		return 0
	}
	return ^d.flushPathsLocked(t.server)
}

// giveUpLocked is the result for a request that ends without success of its own:
// of class c, unless something more telling is known.
func (d *Device) giveUpLocked(t *task, c backends.Class) backends.Result {
	res := backends.Failed(c)
	if t.live > 0 || t.result.Sent == backends.SentSome {
		res.Sent = backends.SentSome
	}
	return res
}

// launchLocked makes an attempt of t on p.
func (d *Device) launchLocked(b *backends.Batch, out *outbox, t *task, p *Path, now time.Time) {
	d.used = true
	a := d.newAttemptLocked()
	r, q := t.req, &a.req
	q.Op, q.FUA, q.NoUnmap, q.FastZero = r.Op, r.FUA, r.NoUnmap, r.FastZero
	q.Offset, q.Length, q.Origin = r.Offset, r.Length, r.Origin
	switch {
	case t.phase2:
		q.Op, q.FUA, q.Offset, q.Length = backends.Flush, false, 0, 0
	case r.FUA && !p.facts.fua:
		q.FUA = false // a flush follows
	}
	if len(r.Data) > 0 && !t.phase2 {
		q.Data.AppendVec(r.Data)
	}
	if t.server != nil {
		t.seq = t.server.written
	}
	a.t, a.c, a.path, a.started, a.gen, a.bytes = t, t.c, p, now, p.gen, q.Length
	if t.c != nil {
		t.c.holds++
	}
	if t.last != p.slot {
		t.tries = 0
	}
	t.last = p.slot
	t.live++
	t.sent = true
	a.linkLocked()
	if d.calm.watched {
		d.calmLocked(out, now)
	}
	d.sel.Start(p.slot, a.bytes)
	d.usedLocked(p, r.Origin, now)
	if f := t.downed; f != nil {
		t.downed = nil
		d.movedLocked(b, out, f, t, now)
	}
	d.dueLocked(out, now.Add(d.timers.Command))
	out.add(p.sess, q)
}

// attemptDoneLocked takes the end of an attempt.
func (d *Device) attemptDoneLocked(b *backends.Batch, out *outbox, a *attempt, res backends.Result, now time.Time) {
	p, t := a.path, a.t
	elapsed := now.Sub(a.started)
	a.unlinkLocked()
	if d.calm.watched {
		d.calmLocked(out, now)
	}
	a.done = true
	d.sel.End(p.slot, a.bytes, Answer{Began: a.started, Ended: now, OK: res.OK()})
	d.quieterLocked(out, p)
	v := d.conflictLocked(b, out, a, res, now)
	if a.req.Op == backends.Flush {
		v.ghost = false
	}
	d.measureLocked(out, a, res, elapsed, now)
	d.effectLocked(b, out, p, v, res, now)
	d.lacksLocked(out, a.req.Op, v.effect)
	if res.OK() {
		d.servedLocked(b, out, a, now)
	}
	if v.ghost && a.c != nil {
		d.ghostLocked(b, out, a, now)
	}
	if res.OK() && a.req.Op.Changes() {
		d.wroteLocked(p, a.req.Offset, a.req.Offset+a.req.Length, a.req.FUA)
	}
	if t != nil {
		t.live--
		if a.req.Op.Changes() && t.req.FUA && !a.req.FUA && res.OK() {
			d.fuaFlushLocked(b, out, t, p, now)
		} else {
			d.judgeLocked(b, out, t, a, v, res, now)
		}
	}
	if a.c != nil {
		d.order.drop(a.c, d.freed)
	}
	d.freeAttemptLocked(a)
	d.stillLocked()
}

// judgeLocked decides what becomes of t after its attempt a has ended.
func (d *Device) judgeLocked(b *backends.Batch, out *outbox, t *task, a *attempt, v verdict, res backends.Result, now time.Time) {
	p := a.path
	if res.OK() {
		if a.req.Op == backends.Flush {
			d.flushedLocked(t)
			if len(d.debt) > 0 {
				// It went well on what came after a loss.
				d.finishLocked(b, out, t, flushLostResult(t), now)
				return
			}
		}
		t.takeLocked(a)
		d.finishLocked(b, out, t, res, now)
		return
	}
	t.result = res
	if v.class != 0 {
		res.Class = v.class
	}
	if a.req.Op == backends.Flush && t.server != nil {
		d.flushFailedLocked(out, t, p, res)
	}
	if res.Class == backends.Aborted && a.swept {
		// Our own reset ended it; the path is as good as any.
		v.action, v.reason = same, backends.ParkReset
	}
	switch {
	case t.ending:
		if res.Class == backends.Transport {
			res.Class = backends.Aborted
		}
		d.finishLocked(b, out, t, res, now)
	case t.req.Op == backends.CompareAndWrite && v.ghost:
		// Never a second time: once it is fenced the client is told.
		t.fencing = true
		d.parkLocked(b, t, backends.ParkFence, backends.Range{Offset: t.off, Length: t.end - t.off})
	case v.action == deliver || t.req.Op == backends.CompareAndWrite && res.Class == backends.Aborted:
		d.finishLocked(b, out, t, res, now)
	case v.action == same:
		d.againLocked(b, out, t, p, v, now)
	case v.once && t.others > 0:
		d.finishLocked(b, out, t, res, now)
	default:
		t.tried = t.tried.With(p.slot)
		if v.once {
			t.others++
		}
		d.elsewhereLocked(b, out, t, v, res, now)
	}
}

// elsewhereLocked sends t, which failed with res, to a path that has not failed
// it; without any it waits if the failure was one of paths, and goes up if not.
func (d *Device) elsewhereLocked(b *backends.Batch, out *outbox, t *task, v verdict, res backends.Result, now time.Time) {
	left := d.usableLocked() &^ t.tried &^ d.avoidServerLocked(t)
	if left == 0 && v.effect == effectFault && d.allUnreadyLocked() {
		d.finishLocked(b, out, t, res, now)
		return
	}
	if left == 0 && v.effect == effectRefuse && d.gone {
		d.finishLocked(b, out, t, d.giveUpLocked(t, backends.NoPath), now)
		return
	}
	if left == 0 && !v.waits && !d.downLocked() && res.Class != backends.Transport && res.Class != backends.Aborted {
		d.finishLocked(b, out, t, res, now)
		return
	}
	d.routeLocked(b, out, t, now)
}

// finishLocked ends t with res.
func (d *Device) finishLocked(b *backends.Batch, out *outbox, t *task, res backends.Result, now time.Time) {
	if t.live > 0 {
		d.detachLocked(t)
	}
	if f := t.downed; f != nil {
		t.downed = nil
		d.movedLocked(nil, out, f, t, now)
	}
	if c := t.c; c != nil {
		c.t = nil
		t.c = nil
		if !res.OK() && c.ghosts > 0 && res.Sent != backends.SentSome {
			res.Sent = backends.SentSome // the range stays held
		}
		d.order.drop(c, d.freed)
	}
	if t.queued {
		d.ready[slices.Index(d.ready, t)] = nil
	}
	if t.parent != nil {
		parent := t.parent
		d.freeTaskLocked(t)
		d.partDoneLocked(b, out, parent, res, now)
		return
	}
	r := t.req
	r.Lower = nil
	b.Complete(r, res)
	if len(d.resets) > 0 {
		d.resetsLocked(b, t, res)
	}
	d.freeTaskLocked(t)
	if d.closed {
		d.closing++
		b.Defer(closeNote{d})
	}
}

// detachLocked lets t go on without its attempts that are in flight. They end
// by themselves, and hold the range until then.
func (d *Device) detachLocked(t *task) {
	for _, p := range d.paths {
		for a := p.first; a != nil && t.live > 0; a = a.next {
			if a.t == t {
				a.t = nil
				t.live--
			}
		}
	}
}

// pumpLocked routes the changes whose turn has come.
func (d *Device) pumpLocked(b *backends.Batch, out *outbox, now time.Time) {
	for i := 0; i < len(d.ready); i++ {
		if t := d.ready[i]; t != nil {
			d.ready[i] = nil
			t.queued = false
			d.routeLocked(b, out, t, now)
		}
	}
	d.ready = d.ready[:0]
}

func (d *Device) queueLocked(t *task) {
	if !t.queued {
		t.queued = true
		d.ready = append(d.ready, t)
	}
}

// freedLocked is called by the order table for a change that waits no more.
func (d *Device) freedLocked(c *change) {
	if c.t != nil {
		d.queueLocked(c.t)
	}
}
