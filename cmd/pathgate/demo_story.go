// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pathgate/gateway/control"
)

const (
	demoTick = time.Second
	// demoPatience is how long to wait for a path, or for a phase to begin.
	demoPatience = 30 * time.Second
	// demoLight is what vm3 asks for when it does not want all: 15 % of two paths, which
	// is 30 % of one (the patent, par. 0110).
	demoLight = demoCapacity * 15 / 100
)

// demoPhase is a part of the story.
type demoPhase struct {
	title string
	// begin makes what the title says.
	begin func(ctx context.Context, d *demo) error
	// paths are those in use then, for good; ticks is how many are counted, behind the
	// first that ends so: that one is of the change itself.
	paths, ticks int
	// want is what each VM is to get, in percent of what all get together.
	want [demoVMs]float64
}

// demoPhases is the story. Percentages are by shares 2000/2000/1000, but for a VM that
// wants less than its part, and under priorities.
func demoPhases() []demoPhase {
	return []demoPhase{
		{
			title: "all three VMs want all that they can get", paths: 2, ticks: 3,
			want: [demoVMs]float64{40, 40, 20},
		}, {
			title: "vm1 goes idle: the others get its part", paths: 2, ticks: 2,
			begin: func(_ context.Context, d *demo) error { d.vms[0].ask(demoIdle); return nil },
			want:  [demoVMs]float64{0, 200. / 3, 100. / 3},
		}, {
			title: "vm1 is back, vm3 wants only 15 %", paths: 2, ticks: 3,
			begin: func(_ context.Context, d *demo) error {
				d.vms[0].ask(demoAll)
				d.vms[2].ask(demoLight)
				return nil
			},
			want: [demoVMs]float64{42.5, 42.5, 15},
		}, {
			title: "path vmhba1 is cut: half is left, of which vm3's 15 % are 30 %", paths: 1, ticks: 4,
			begin: func(ctx context.Context, d *demo) error {
				d.fault.Store(&demoFault{time.Now(), "the cut"})
				d.relays[1].cut()
				return d.tellOver(ctx, d.vms[2].name)
			},
			want: [demoVMs]float64{40, 40, 20},
		}, {
			title: "vm1 gets priority 8: it keeps what two paths gave it", paths: 1, ticks: 3,
			begin: func(ctx context.Context, d *demo) error { return d.setPriority(ctx, d.vms[0].name, 8) },
			// vm1: 40 % of two paths is 80 % of one; the others share the rest.
			want: [demoVMs]float64{80, 40. / 3, 20. / 3},
		}, {
			title: "path vmhba1 is restored", paths: 2, ticks: 4,
			begin: func(_ context.Context, d *demo) error { return d.relays[1].restore() },
			want:  [demoVMs]float64{42.5, 42.5, 15},
		}, {
			title: "the target is killed and started again: VMs wait, and see no error", paths: 2, ticks: 3,
			begin: func(ctx context.Context, d *demo) error { return d.killTarget(ctx) },
			want:  [demoVMs]float64{42.5, 42.5, 15},
		},
	}
}

// killTarget kills the target's process, with what it has in hand, and starts another
// when the gateway has no path left.
func (d *demo) killTarget(ctx context.Context) error {
	d.fault.Store(&demoFault{time.Now(), "the kill"})
	if err := d.target.kill(); err != nil {
		return fmt.Errorf("kill the target: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	select {
	case <-d.told.down:
	case <-ctx.Done():
		return fmt.Errorf("the gateway has not told that the target is gone: %w", ctx.Err())
	}
	if err := d.startTarget(); err != nil {
		return err
	}
	d.screen.say(d.elapsed(), fmt.Sprintf("the target serves again, as process %d", d.target.pid()))
	return nil
}

func (d *demo) setPriority(ctx context.Context, vm string, to int64) error {
	_, err := d.api.SetVMShare(ctx, vm, control.VMShareChange{Priority: &to})
	return err
}

// story runs the phases, and gives what was measured in each.
func (d *demo) story(ctx context.Context) (results []demoResult, err error) {
	from, err := d.lastEvent(ctx)
	if err != nil {
		return nil, err
	}
	d.told = newDemoTold()
	following, stop := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { d.tell(following, from) })
	defer teller.Wait()
	defer stop()
	d.begin = time.Now()
	d.screen.enter()
	for i, p := range demoPhases() {
		r, err := d.phase(ctx, i+1, &p)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// phase runs one phase, and measures it.
func (d *demo) phase(ctx context.Context, number int, p *demoPhase) (demoResult, error) {
	r := demoResult{number: number, phase: p}
	d.screen.phase(d.elapsed(), number, p.title)
	cursor := d.cursor()
	if p.begin != nil {
		if err := p.begin(ctx, d); err != nil {
			return r, err
		}
	}
	tick := time.NewTicker(demoTick)
	defer tick.Stop()
	deadline := time.Now().Add(demoPatience)
	for settled := false; r.ticks < p.ticks; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, ctx.Err()
		}
		t, err := d.look(ctx, &cursor)
		if err != nil {
			return r, err
		}
		d.screen.tick(&t)
		d.worst.add(number, t.slowest)
		if settled {
			r.add(&t)
		}
		if settled = t.steady == p.paths; !settled && time.Now().After(deadline) {
			return r, fmt.Errorf("%d paths in use for good after %v, not %d", t.steady, demoPatience, p.paths)
		}
	}
	return r, nil
}

// demoWorst is the longest that one request has taken, and when.
type demoWorst struct {
	took  time.Duration
	phase int
}

func (w *demoWorst) add(phase int, took time.Duration) {
	if took > w.took {
		w.took, w.phase = took, phase
	}
}

func (d *demo) elapsed() time.Duration { return time.Since(d.begin) }

// demoCursor is where the counters stood at the end of the last tick.
type demoCursor struct {
	at  time.Time
	ios [demoVMs]uint64
}

func (d *demo) cursor() (c demoCursor) {
	c.at = time.Now()
	for i, vm := range d.vms {
		c.ios[i] = vm.ios.Load()
	}
	return c
}

// demoSecond is what was seen in one tick.
type demoSecond struct {
	elapsed time.Duration // since the begin of the story, at its end
	length  time.Duration
	vms     [demoVMs]demoCell
	total   uint64  // requests of all VMs
	paths   int     // in use at its end
	steady  int     // those of them that are not on probation after a loss
	part    float64 // of the capacity that is left, in percent
	slowest time.Duration
}

// demoCell is one VM in one tick.
type demoCell struct {
	name     string
	ios      uint64
	got      float64 // percent of what all got
	entitled float64 // percent of the capacity, at the end of the tick
	over     bool
	shares   uint32
	priority uint8
	why      string // the reason that something waits; "" when nothing does
	detail   string // the same with its numbers
}

// look tells what was since the cursor, and moves it.
func (d *demo) look(ctx context.Context, c *demoCursor) (s demoSecond, err error) {
	paths, err := d.api.Paths(ctx)
	if err != nil {
		return s, err
	}
	shares, err := d.api.Shares(ctx)
	if err != nil {
		return s, err
	}
	luns, err := d.api.ShareLUNs(ctx)
	if err != nil {
		return s, err
	}
	now := d.cursor()
	s.elapsed, s.length = now.at.Sub(d.begin), now.at.Sub(c.at)
	s.paths, s.steady = usedPaths(paths)
	if len(luns) > 0 {
		s.part = 100 * luns[0].Kappa
	}
	for i, vm := range d.vms {
		cell := &s.vms[i]
		cell.name, cell.ios = vm.name, now.ios[i]-c.ios[i]
		s.total += cell.ios
		s.slowest = max(s.slowest, vm.takeStall())
		for j := range shares {
			if shares[j].VM == vm.name {
				cell.entitle(&shares[j])
			}
		}
	}
	for i := range s.vms {
		s.vms[i].got = percentOf(s.vms[i].ios, s.total)
	}
	*c = now
	return s, nil
}

// entitle takes over what the gateway tells.
func (c *demoCell) entitle(s *control.Share) {
	c.entitled, c.over = s.EntitledPercent, s.Over
	if e := s.Effective; e != nil {
		c.shares, c.priority = e.Shares, e.Priority
	}
	if s.Why != nil {
		c.why, c.detail = s.Why.Reason, s.Why.Short()
	}
}

// percentOf is 0 of nothing.
func percentOf(n, of uint64) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}
