// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"context"
	"errors"
	"slices"
)

// Target is a target that runs in processes of its own. Make it with Start. Its
// methods are safe for concurrent use.
type Target struct {
	name  string
	procs []*Process
}

// Start makes the files of the LUNs, starts the processes and returns when they
// serve. ctx bounds the start only; Close ends the target.
func Start(ctx context.Context, o Options) (*Target, error) {
	jobs, err := o.jobs()
	if err != nil {
		return nil, err
	}
	t := &Target{name: jobs[0].Target}
	for _, j := range jobs {
		p, err := startProcess(ctx, j, o.Exited)
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		t.procs = append(t.procs, p)
	}
	return t, nil
}

// Name gives the target's name.
func (t *Target) Name() string { return t.name }

// Portals gives all portals as "address:port": those of the first process come
// first, otherwise in the order of the options.
func (t *Target) Portals() (list []string) {
	for _, p := range t.procs {
		list = append(list, p.job.Portals...)
	}
	return list
}

// Processes gives its processes, one for each port.
func (t *Target) Processes() []*Process { return slices.Clone(t.procs) }

// Pid gives the number of the first process; 0 while it is started again.
func (t *Target) Pid() int { return t.procs[0].Pid() }

// Restarts tells how many times a process was started again.
func (t *Target) Restarts() (n int) {
	for _, p := range t.procs {
		n += p.Restarts()
	}
	return n
}

// Stop halts all processes (SIGSTOP): every path stays silent until Cont.
func (t *Target) Stop() error { return t.each((*Process).Stop) }

// Cont lets all go on.
func (t *Target) Cont() error { return t.each((*Process).Cont) }

// Kill kills all processes; they are started again at once.
func (t *Target) Kill() error { return t.each((*Process).Kill) }

func (t *Target) each(f func(*Process) error) error {
	var errs []error
	for _, p := range t.procs {
		errs = append(errs, f(p))
	}
	return errors.Join(errs...)
}

// Close ends the processes and waits for that. Twice is safe. The files stay.
func (t *Target) Close() error {
	for _, p := range t.procs {
		p.close()
	}
	return nil
}
