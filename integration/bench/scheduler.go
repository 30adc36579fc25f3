// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"pathgate/integration/tgtd"
)

const (
	// schedulerRepeats is how many pairs of samples a round makes of the scheduler's
	// rows: what they are to tell apart is less than the noise of one pair.
	schedulerRepeats = 5
	// aloneBar and waitingBar are the least rates with the scheduler on, as a part of
	// those with it off: of one VM, and of VMs that wait for each other.
	aloneBar, waitingBar = 0.97, 0.95
)

// startScheduled starts what tells the price of the scheduler, on memory, where
// nothing else costs much. One process serves all, so that nothing but the
// scheduler differs.
func startScheduled(ctx context.Context, o *Options, dir string) ([]*group, error) {
	socket := filepath.Join(dir, "scheduled.nbd")
	args := append(append([]string(nil), o.Scheduled...), socket, strconv.Itoa(diskBytes))
	p, err := startProcess(ctx, dir, "scheduled", accepts(socket), args[0], args[1:]...)
	if err != nil {
		return nil, err
	}
	contend := func(name, device string, vms int) *contender {
		c := (&contender{name: name, pid: p.pid}).vms(socket, device, schedulerVMs)
		c.uris = c.uris[:vms]
		return c
	}
	compare := func(title, note, device string, vms int, bar float64) *group {
		return &group{
			title: title, note: note, reference: 1, repeats: schedulerRepeats, bar: bar, jobs: schedulerJobs(vms),
			contenders: []*contender{contend("scheduler on", device, vms), contend("scheduler off", deviceOff, vms)},
			waits: func(ctx context.Context) (Waits, error) {
				all, err := askWaits(ctx, socket)
				return all[device], err
			},
		}
	}
	alone := compare("Scheduler, one VM alone, on memory",
		"NBD server, disk and router on one memory device, default settings.", deviceOn, 1, aloneBar)
	waiting := compare(fmt.Sprintf("Scheduler, %d VMs that wait, on memory", schedulerVMs),
		fmt.Sprintf("As above, with a window of %d CU.", tightDepth), deviceTight, schedulerVMs, waitingBar)
	groups := []*group{alone, waiting}
	for i, device := range []string{deviceOn, deviceTight} {
		cost, err := measurePrice(device, len(groups[i].contenders[0].uris), priceSamples)
		if err != nil {
			return nil, errors.Join(err, p.stop())
		}
		groups[i].note += "\n" + cost.String()
	}
	waiting.contenders[1].stop = p.stop
	for _, c := range append(waiting.contenders, alone.contenders[0]) {
		if err := fill(ctx, c); err != nil {
			return nil, errors.Join(err, p.stop())
		}
	}
	return groups, nil
}

// startPaths starts the product, with and without scheduler, on one LUN that many
// VMs have a part of. The target is the last of the group: it is stopped after
// those that use it.
func startPaths(ctx context.Context, o *Options, dir string) ([]*group, error) {
	const paths = 4
	portals := make([]string, paths)
	for i := range portals {
		portals[i] = "127.0.0.1:0"
	}
	target, err := tgtd.Start(ctx, tgtd.Options{
		Portals: portals,
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:paths", LUNs: []tgtd.LUN{{
			SizeBytes: diskBytes, SCSIID: "PATHGATEBENCH2", SCSISN: "BENCH2",
		}}}},
	})
	if err != nil {
		return nil, err
	}
	g := &group{
		title:     fmt.Sprintf("Scheduler, %d VMs over %d paths, on a tgtd LUN in /dev/shm", schedulerVMs, paths),
		note:      "The program as its users run it, with default settings.",
		reference: 1, repeats: schedulerRepeats, jobs: schedulerJobs(schedulerVMs),
	}
	fail := func(err error) ([]*group, error) { return nil, errors.Join(err, g.stop(), target.Close()) }
	if err := fillFile(target.File(0, 1)); err != nil {
		return fail(err)
	}
	for _, s := range []gatewaySpec{{name: "scheduler on"}, {name: "scheduler off", off: true}} {
		s.portals, s.vms = target.Portals(), schedulerVMs
		c, err := startPathgate(ctx, o, dir, s)
		if err != nil {
			return fail(err)
		}
		c.target = target.Pid
		g.contenders = append(g.contenders, c)
	}
	last := g.contenders[1]
	stop := last.stop
	last.stop = func() error { return errors.Join(stop(), target.Close()) }
	return []*group{g}, nil
}
