// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"

	"pathgate/integration/tgtd"
)

// thriftBar is how many times as many I/Os as tgtd the iSCSI target has to do in a
// second of CPU time, at depth 32.
const thriftBar = 1.5

// startISCSI starts iSCSI targets: three on one and the same file, and the gateway
// in front of a LUN over two paths. The targets that others need are the last of
// their group.
func startISCSI(ctx context.Context, o *Options, dir string) ([]*group, error) {
	file, err := startTargets(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	through, err := startThrough(ctx, o, dir)
	if err != nil {
		return nil, errors.Join(err, file.stop())
	}
	return []*group{file, through}, nil
}

// startTargets starts tgtd, gotgt and the gateway on the file of tgtd's LUN.
func startTargets(ctx context.Context, o *Options, dir string) (*group, error) {
	theirs, err := startTgtd(ctx, "iqn.2026-11.test:file", "PATHGATEBENCH3", 1)
	if err != nil {
		return nil, err
	}
	g := &group{
		title: "iSCSI targets on one file in /dev/shm",
		note: "One after the other, on the same file of memory: a disk that never makes anyone wait.\n" +
			"There pathgate writes without a worker, as it reads what is cached on any disk; writes to a disk's file system have one.",
		reference: 2, jobs: iscsiJobs(), thrift: thriftBar,
	}
	fail := func(err error) (*group, error) { return nil, errors.Join(err, g.stop(), theirs.Close()) }
	ours, err := startPathgate(ctx, o, dir, gatewaySpec{name: "pathgate", file: theirs.File(0, 1), vms: 1, iscsi: true})
	if err != nil {
		return fail(err)
	}
	g.contenders = append(g.contenders, ours)
	gotgt, err := startGotgt(ctx, theirs.File(0, 1))
	if err != nil {
		return fail(err)
	}
	g.contenders = append(g.contenders, gotgt, alone("tgtd", theirs))
	return g, nil
}

// startThrough starts the gateway on a LUN over two paths, and compares it with that
// LUN itself.
func startThrough(ctx context.Context, o *Options, dir string) (*group, error) {
	target, err := startTgtd(ctx, "iqn.2026-11.test:through", "PATHGATEBENCH4", 2)
	if err != nil {
		return nil, err
	}
	g := &group{
		title:     "iSCSI through the gateway to a tgtd LUN in /dev/shm",
		note:      "Both of the gateway's sides are iSCSI, and all that its users get is on: paths, scheduler, fencing.",
		reference: 1, jobs: iscsiJobs(),
	}
	ours, err := startPathgate(ctx, o, dir, gatewaySpec{name: "pathgate iSCSI, 2 paths", portals: target.Portals(), vms: 1, iscsi: true})
	if err != nil {
		return nil, errors.Join(err, target.Close())
	}
	ours.target = target.Pid
	g.contenders = []*contender{ours, alone("target alone", target)}
	return g, nil
}

// startTgtd starts a tgtd with one filled LUN.
func startTgtd(ctx context.Context, name, id string, portals int) (*tgtd.Server, error) {
	o := tgtd.Options{Targets: []tgtd.Target{{Name: name, LUNs: []tgtd.LUN{{SizeBytes: diskBytes, SCSIID: id, SCSISN: id[8:]}}}}}
	for range portals {
		o.Portals = append(o.Portals, "127.0.0.1:0")
	}
	s, err := tgtd.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := fillFile(s.File(0, 1)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// alone is a tgtd that is measured itself.
func alone(name string, s *tgtd.Server) *contender {
	return &contender{name: name, image: s.URL(0, 1), lun: s.URL(0, 1), pid: s.Pid, stop: s.Close}
}
