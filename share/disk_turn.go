// SPDX-License-Identifier: Apache-2.0

package share

// combine makes turns for everybody, unless another goroutine is at it and will
// see what was left for it. must: there is something to do that cannot be seen.
func (d *Disk) combine(ctx any, must bool) {
	if !d.mu.TryLock() {
		if !must {
			return
		}
		d.again.Store(true)
		if !d.mu.TryLock() {
			return
		}
	}
	for turns := 0; ; {
		for turns < maxTurns {
			if must || d.wanted() {
				d.turn(len(d.out))
				must = false
			}
			turns++
			if d.issuing > 0 || d.outbox.empty() {
				break
			}
			d.issueNext(ctx)
		}
		left := d.issuing == 0 && !d.outbox.empty()
		d.mu.Unlock()
		if !left && !d.wanted() {
			return
		}
		if turns >= maxTurns {
			d.pacer.wake(d)
			return
		}
		if !d.mu.TryLock() {
			return
		}
	}
}

// release gives the lock up after something else than a turn for all: who found
// it taken meanwhile relies on the holder.
func (d *Disk) release() {
	d.mu.Unlock()
	if d.wanted() {
		d.pacer.wake(d)
	}
}

// wanted tells whether there is something for a turn to do.
func (d *Disk) wanted() bool {
	return d.again.Load() || d.inbox.Load() != nil || d.news.Load() != 0
}

// issueNext hands the first commands of the outbox to the device. The lock is
// held at the beginning and at the end.
func (d *Disk) issueNext(ctx any) {
	n := 0
	for n < maxIssue && !d.outbox.empty() {
		c := d.outbox.pop()
		c.shell.where = nowhere
		d.chunk[n] = c
		n++
	}
	d.issuing = n
	d.mu.Unlock()
	d.issue(ctx, d.chunk[:n])
	d.word.subQueued(n)
	d.mu.Lock()
	d.issuing = 0
	d.issued.Broadcast()
}

// turn takes over what has happened, with the events given, and has the core
// dispatch at most room commands, which go into the outbox. mu is held.
func (d *Disk) turn(room int, events ...Event) {
	if d.again.Load() {
		d.again.Store(false)
	}
	now := d.pacer.Now()
	d.events = append(d.events[:0], events...)
	full := d.addNews()
	if d.hand && d.inCore > 0 {
		d.handDown(now)
	}
	d.hand = false
	passing := d.fold(now)
	more := d.gather()
	done := uint64(0)
	if d.samples.Load() != 0 {
		done = d.samples.Swap(0)
	}
	d.measured += int64(done >> sampleShift)
	// The window is read after the commands that may go were counted as queued:
	// since then none has passed.
	w := d.word.load()
	d.events = append(d.events, Event{
		Kind: Window, Units: Unit(w.inFlight()), Count: int32(d.commands.Load()),
		Completed: Unit(d.completed.Swap(0)),
		Samples:   int32(done >> sampleShift), Latency: int64(done & (1<<sampleShift - 1)),
	})
	if full {
		d.events = append(d.events, Event{Kind: TaskSetFull})
	}
	out, wake := d.core.Step(now, d.events, d.out[:0:room])
	d.dispatch(out, now)
	if depth, most := d.core.Room(); int64(depth) != d.depth.Load() || bound(most) != d.most.Load() {
		d.depth.Store(int64(depth))
		d.most.Store(bound(most))
		d.word.step()
	}
	if n := d.core.Plans(); n != d.plans {
		d.plans = n
		d.planned(now)
	}
	if passing {
		wake = d.beforeEdge(now, wake)
	}
	d.arrange(now, wake, room)
	if more || len(out) > 0 && len(out) == room {
		d.again.Store(true)
	}
}

func bound(commands int) int64 {
	if commands == 0 {
		return noBound
	}
	return int64(commands)
}

// dispatch puts what the core has dispatched into the outbox. The core forgets
// the commands: they complete without an event.
func (d *Disk) dispatch(out []Dispatch, now Instant) {
	if len(out) == 0 {
		return
	}
	var sum Unit
	sparse := d.sparse.Load()
	for i := range out {
		c := out[i].Cmd
		sum += out[i].Cost
		c.flow.inflight--
		c.state = cmdIdle
		c.shell.flow.account.begin()
		c.measure(now, sparse)
		c.shell.where = inOutbox
		d.outbox.push(c)
	}
	d.inCore -= len(out)
	d.commands.Add(int64(len(out)))
	d.word.add(int64(sum))
}

// addNews makes events of what was told without one. full: the target took no
// more, which counts against the window as it will be told.
func (d *Disk) addNews() (full bool) {
	news := d.news.Load()
	if news == 0 {
		return false
	}
	d.news.And(^news)
	if news&newsPaths != 0 {
		d.events = append(d.events, Event{Kind: Paths, Kappa: d.kappa.Load()})
	}
	if news&newsCommands != 0 {
		d.events = append(d.events, Event{Kind: Commands, Count: d.count.Load()})
	}
	if news&newsStall != 0 {
		d.events = append(d.events, Event{Kind: Stall, Until: Instant(d.stalled.Load())})
	}
	if news&newsRefusing != 0 {
		d.refusing = d.refuse.Load()
		d.hand = d.refusing > 0
	}
	return news&newsFull != 0
}

// fold tells the core what flows were served past it, and gives whether there were
// any. Each command that passed pays for at most one event.
func (d *Disk) fold(now Instant) (passing bool) {
	for f := d.takeDirty(); f != nil; {
		next := f.nextDirty
		f.nextDirty = nil
		units, n := f.account.take()
		f.told, passing = n, true
		d.events = append(d.events, Event{Kind: Fast, Flow: f.id, Units: units, Count: int32(n)})
		f = next
	}
	if now < d.planAt {
		return passing
	}
	for _, f := range d.flows {
		if f == nil {
			continue
		}
		if n := f.account.inFlight(); n != f.told {
			f.told = n
			d.events = append(d.events, Event{Kind: Fast, Flow: f.id, Count: int32(n)})
		}
	}
	return passing
}

// beforeEdge gives the instant shortly before the meter begins its next slot, or
// wake if that is earlier: what has passed the core has to be counted in the
// slot in which it did.
func (d *Disk) beforeEdge(now, wake Instant) Instant {
	half := Instant(d.set.Window / 2)
	edge := (now/half + 1) * half
	if edge-now <= foldAhead {
		edge += half
	}
	if edge -= foldAhead; wake == 0 || edge < wake {
		return edge
	}
	return wake
}

func (d *Disk) takeDirty() *Flow {
	if d.dirty.Load() == nil {
		return nil
	}
	return d.dirty.Swap(nil)
}

// collect moves the inbox into waiting, oldest first.
func (d *Disk) collect() {
	if d.inbox.Load() == nil {
		return
	}
	newest := d.inbox.Swap(nil)
	oldest := (*Cmd)(nil)
	for c := newest; c != nil; {
		next := c.shell.next
		c.shell.next, c.shell.where = oldest, inWaiting
		oldest, c = c, next
	}
	d.waiting.join(oldest, newest)
}

// handDown takes what the device ends at once out of the core and passes it on.
func (d *Disk) handDown(now Instant) {
	for _, f := range d.flows {
		if f == nil {
			continue
		}
		for c := d.core.flow(f.id).first; c != nil; {
			next := c.next
			if d.refuses(c) {
				d.core.Step(now, []Event{{Kind: Abort, Cmd: c}}, nil)
				d.inCore -= len(d.core.Returned())
				d.passOn(c)
			}
			c = next
		}
	}
}

// refuses tells whether the device ends c at once.
func (d *Disk) refuses(c *Cmd) bool { return d.refusing > 0 && c.Patience <= d.refusing }

// gather makes events of commands that came, and tells whether there are more.
// A closed scheduler passes them on, and any one those that the device refuses.
func (d *Disk) gather() (more bool) {
	d.collect()
	for n := 0; n < turnEvents && !d.waiting.empty(); n++ {
		c := d.waiting.pop()
		if d.closed || d.refuses(c) {
			d.passOn(c)
			continue
		}
		c.shell.where = inCore
		d.inCore++
		d.events = append(d.events, Event{Kind: Submit, Flow: c.shell.flow.id, Cmd: c})
	}
	return !d.waiting.empty()
}

// passOn sends c to the device without asking the core.
func (d *Disk) passOn(c *Cmd) {
	c.cost, c.shell.at = 1, 0
	c.shell.where = inOutbox
	c.shell.flow.account.begin()
	d.commands.Add(1)
	d.word.add(1)
	d.outbox.push(c)
}

// planned takes over what a plan has decided.
func (d *Disk) planned(now Instant) {
	d.planAt = now + Instant(d.set.PlanPeriod)
	for id, f := range d.flows {
		if f != nil {
			f.fast.Store(d.core.Fast(FlowID(id)))
		}
	}
	if d.measured*int64(d.sparse.Load()+1) > manySamples {
		d.sparse.Store(sparseSamples)
	} else {
		d.sparse.Store(0)
	}
	d.measured = 0
	if d.beating && !d.pressed {
		d.watch(false)
	}
	d.pressed = false
}

// watch has the pacer watch for stalls, or no longer.
func (d *Disk) watch(on bool) {
	d.beating = on
	d.pacer.beatFor(d, on)
}

// arrange sees to it that the next turn comes when it has to, and opens or
// closes the way past the core: it is open while turns come by themselves, so
// that what passes is planned for.
func (d *Disk) arrange(now, wake Instant, room int) {
	w := d.word.load()
	if wake == 0 && d.beating {
		d.watch(false)
	}
	if w.queued() > 0 && (room == 0 || wake == 0) {
		// Nothing was dispatched for lack of room, or only the device can move
		// what waits: it is looked at again now, or for sure at some time.
		wake = now
		if room > 0 {
			wake = now + Instant(d.set.PlanPeriod)
		}
	}
	if wake == 0 && w.inFlight() > 0 {
		wake = now + Instant(d.set.PlanPeriod)
	}
	if d.closed && w.queued() == 0 {
		wake = 0
	}
	if wake != 0 {
		d.pacer.arm(d, wake)
	}
	d.openWay(wake != 0 && d.depth.Load() > 0 && !d.closed)
	if d.inCore > 0 {
		d.pressed = true
		if !d.beating {
			d.watch(true)
		}
	}
}

// openWay opens or closes the way past the core. It stays closed while there is
// news that closed it: whoever brings some afterwards has this fail.
func (d *Disk) openWay(open bool) {
	for {
		w := d.word.load()
		want := open && d.news.Load()&newsClosing == 0
		if w.open() == want || d.word.swap(w, w.withOpen(want)) {
			return
		}
	}
}
