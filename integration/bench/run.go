// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say what is measured. Pathgate, Memory, Scheduled and GoNBD are required.
type Options struct {
	Pathgate  string   // the program
	Memory    []string // command that takes socket and size and calls ServeMemory
	Scheduled []string // the same for ServeScheduled
	GoNBD     []string // and for ServeGoNBD
	Rounds    int      // at least 1
	Seconds   float64  // each measurement
	Seed      uint64
	Idle      int      // idle connections of the memory figure; 0: not measured
	Only      string   // jobs whose name contains this; "": all
	Skip      []string // of "fio", "qemu-img", "iscsi-perf", "structured", "simple", "extended", "target", "memory", "iscsi", "scheduler", "paths"
	Log       io.Writer
}

// series is the samples of one contender under one job and client, by round.
type series struct {
	contender *contender
	samples   []Sample
}

// row is one job under one client, for every contender of a group.
type row struct {
	group  *group
	client string
	job    Job
	series []series
}

// column gives the series of c; nil when it was not measured.
func (r *row) column(c *contender) []Sample {
	for _, s := range r.series {
		if s.contender == c {
			return s.samples
		}
	}
	return nil
}

// Report is all that a run has found.
type Report struct {
	Options Options
	Started time.Time
	Took    time.Duration
	Machine Machine
	Idle    *Idle // nil: not measured
	groups  []*group
	rows    []*row
}

// Run measures. Whatever it starts has ended when it returns.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Rounds < 1 || o.Seconds <= 0 {
		return nil, fmt.Errorf("bench: %d rounds of %g s", o.Rounds, o.Seconds)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &Report{Options: o, Started: time.Now()}
	if r.Machine, err = inspect(ctx, o.Pathgate); err != nil {
		return nil, err
	}
	defer func() {
		for _, g := range r.groups {
			err = errors.Join(err, g.stop())
		}
	}()
	if err := r.start(ctx, dir); err != nil {
		return nil, err
	}
	if len(r.rows) == 0 {
		return nil, errors.New("bench: nothing is left to measure")
	}
	if err := r.eachWaits(ctx, func(g *group, w Waits) { g.waitsBefore = w }); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	clients := map[string]client{}
	for _, cl := range allClients() {
		clients[cl.name()] = cl
	}
	for round := range o.Rounds {
		for _, row := range r.rows {
			for range max(row.group.repeats, 1) {
				if err := row.measure(ctx, clients[row.client], &o, random); err != nil {
					return nil, err
				}
			}
		}
		fmt.Fprintf(o.Log, "round %d of %d done after %v\n", round+1, o.Rounds, time.Since(r.Started).Round(time.Second))
	}
	if err := r.eachWaits(ctx, func(g *group, w Waits) { g.waited = w.since(g.waitsBefore) }); err != nil {
		return nil, err
	}
	if o.Idle > 0 {
		idle, err := measureIdle(ctx, r.groups[0].contenders[0], o.Idle)
		if err != nil {
			return nil, fmt.Errorf("idle connections: %w", err)
		}
		r.Idle = &idle
	}
	r.Took = time.Since(r.Started)
	return r, nil
}

// eachWaits asks the groups that tell what waits.
func (r *Report) eachWaits(ctx context.Context, fn func(*group, Waits)) error {
	for _, g := range r.groups {
		if g.waits == nil {
			continue
		}
		w, err := g.waits(ctx)
		if err != nil {
			return err
		}
		fn(g, w)
	}
	return nil
}

// start brings up the contenders and plans the rows.
func (r *Report) start(ctx context.Context, dir string) error {
	for _, part := range []struct {
		word  string
		start func(context.Context, *Options, string) ([]*group, error)
	}{{"target", startTarget}, {"memory", startMemory}, {"iscsi", startISCSI}, {"scheduler", startScheduled}, {"paths", startPaths}} {
		if r.Options.skips(part.word) {
			continue
		}
		groups, err := part.start(ctx, &r.Options, dir)
		if err != nil {
			return err
		}
		for _, g := range groups {
			r.groups = append(r.groups, g)
			r.plan(g)
		}
	}
	return nil
}

// plan makes the rows of g.
func (r *Report) plan(g *group) {
	for _, cl := range allClients() {
		if r.Options.skips(strings.Fields(cl.name())[0]) || !slices.ContainsFunc(g.contenders, cl.can) {
			continue
		}
		for _, j := range g.jobs {
			if cl.does(j) && strings.Contains(j.Name, r.Options.Only) {
				r.rows = append(r.rows, &row{group: g, client: cl.name(), job: j})
			}
		}
	}
}

func (o *Options) skips(word string) bool { return slices.Contains(o.Skip, word) }

// measure adds one sample of every contender.
func (r *row) measure(ctx context.Context, cl client, o *Options, random *rand.Rand) error {
	if r.series == nil {
		for _, c := range r.group.contenders {
			if cl.can(c) {
				r.series = append(r.series, series{contender: c})
			}
		}
	}
	seed := random.Uint64N(1 << 31)
	for _, i := range random.Perm(len(r.series)) {
		s := &r.series[i]
		sample, err := measure(ctx, cl, s.contender, r.job, o.Seconds, seed)
		if err != nil {
			return fmt.Errorf("%s: %s with %s: %w", s.contender.name, r.job.Name, cl.name(), err)
		}
		s.samples = append(s.samples, sample)
		fmt.Fprintf(o.Log, "%-15s %-31s %-18s %12s %7.1f us\n", cl.name(), r.job.Name, s.contender.name,
			r.job.rate(sample.PerSecond()), sample.ServerMicros())
	}
	return nil
}

// measure makes one sample, again where c may fail.
func measure(ctx context.Context, cl client, c *contender, j Job, seconds float64, seed uint64) (Sample, error) {
	if c.longest > 0 {
		seconds = min(seconds, c.longest)
	}
	for left := c.attempts; ; left-- {
		s, err := attempt(ctx, cl, c, j, seconds, seed)
		if err == nil || left <= 1 || ctx.Err() != nil {
			return s, err
		}
		c.again++
	}
}

func attempt(ctx context.Context, cl client, c *contender, j Job, seconds float64, seed uint64) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second))*10+30*time.Second)
	defer cancel()
	if err := cl.prepare(ctx, c, j); err != nil {
		return Sample{}, err
	}
	pid := c.pid()
	before, err := cpuOf(c)
	if err != nil {
		return Sample{}, err
	}
	s, err := cl.run(ctx, c, j, seconds, seed)
	if err != nil {
		return Sample{}, err
	}
	after, err := cpuOf(c)
	if err == nil && c.pid() != pid {
		err = errors.New("the server was started again")
	}
	if err != nil {
		return Sample{}, err
	}
	s.Server, s.Target = after[0]-before[0], after[1]-before[1]
	return s, nil
}

// cpuOf gives the CPU seconds of the server and of the target behind it.
func cpuOf(c *contender) (cpu [2]float64, err error) {
	if cpu[0], err = cpuSeconds(c.pid()); err != nil || c.target == nil {
		return cpu, err
	}
	cpu[1], err = cpuSeconds(c.target())
	return cpu, err
}
