// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/scsi"
	spc "pathgate/internal/scsi"
)

const (
	// targetWait bounds how long a login waits for the VM's disks: an initiator that
	// logs in while the gateway starts is to find them. Initiators give a login 5 s or
	// more.
	targetWait = 4 * time.Second
	// startWait is for how long after the start of the gateway logins wait. A disk that
	// has not come by then must not delay every login for ever.
	startWait = 30 * time.Second
)

// targets are the gateway's VMs as the iSCSI server shows them: one target for each,
// with a LUN for each disk from when it is there.
type targets struct {
	g      *Gateway
	server *iscsi.Server
	list   []*vmTarget // in the order of the configuration
	byName map[string]*vmTarget
	stop   <-chan struct{} // closed when nobody is let in any more
	saves  saver
}

// vmTarget is the target of one VM.
type vmTarget struct {
	vm     *VMConfig
	target *scsi.Target
	disks  []*servedDisk
	access access
}

// newTargets makes the targets of the configuration without any LUN, and the server
// that shows them; nil without a listener. The numbers and identities of all disks
// are settled in the store. serving ends when no login is wanted any more.
func (g *Gateway) newTargets(serving context.Context) (*targets, error) {
	if len(g.cfg.ISCSI.Listen) == 0 {
		return nil, nil
	}
	ts := &targets{g: g, byName: map[string]*vmTarget{}, stop: serving.Done()}
	var ports []scsi.Port
	for i := range g.cfg.ISCSI.Listen {
		tag := portalTag(i)
		ports = append(ports, scsi.Port{Relative: tag, PortalGroupTag: tag, Group: 1})
	}
	for i := range g.cfg.VMs {
		vm := &g.cfg.VMs[i]
		t, err := ts.newTarget(vm, ports, fmt.Sprintf("vms[%d]", i))
		if err != nil {
			return nil, err
		}
		ts.list = append(ts.list, t)
		ts.byName[t.target.Name()] = t
	}
	var err error
	ts.server, err = iscsi.New(iscsi.Config{
		MaxConnections: g.cfg.Limits.Connections, MaxPerAddress: g.cfg.Limits.ConnectionsPerAddress,
		MaxLogins: g.cfg.Limits.Logins, MaxLoginsPerAddress: g.cfg.Limits.LoginsPerAddress,
		Targets: boundedTargets{ts}, Logger: g.log, QueueDepth: g.cfg.ISCSI.QueueDepth,
		HeaderDigest: g.cfg.ISCSI.Digests, DataDigest: g.cfg.ISCSI.Digests,
		DrainTimeout: g.cfg.Timeouts.Drain, TaskTimeout: g.cfg.Timeouts.TMFAnswer,
		DataTimeout: g.cfg.Timeouts.ClientData, Rival: ts.rival,
		NOPInterval: g.cfg.Timeouts.ClientNOPInterval, NOPTimeout: g.cfg.Timeouts.ClientNOPTimeout,
	})
	return ts, err
}

func (ts *targets) newTarget(vm *VMConfig, ports []scsi.Port, key string) (*vmTarget, error) {
	t := &vmTarget{vm: vm, access: access{&vm.ISCSI}}
	for _, d := range ts.g.disks {
		if d.vm == vm {
			t.disks = append(t.disks, d)
		}
	}
	if _, err := t.access.settings(); err != nil {
		return nil, fmt.Errorf("%s.iscsi.chap: %w", key, err)
	}
	if err := ts.identify(t, key); err != nil {
		return nil, err
	}
	var err error
	t.target, err = scsi.NewTarget(scsi.TargetConfig{Name: ts.g.cfg.ISCSI.TargetName(vm.Name), Ports: ports})
	return t, err
}

// identify settles under which number each disk of t is seen, and as what.
func (ts *targets) identify(t *vmTarget, key string) error {
	wishes := make([]LUNWish, len(t.disks))
	for i, d := range t.disks {
		wishes[i] = LUNWish{Disk: d.cfg.Name, Number: d.cfg.LUNID}
	}
	numbers, err := ts.g.store.LUNNumbers(t.vm.Name, wishes)
	if taken, ok := errors.AsType[*LUNTakenError](err); ok {
		return ts.g.cfg.lunFault(t.vm, key, taken)
	}
	if err != nil {
		return err
	}
	for i, d := range t.disks {
		id := &lunIdentity{lun: spc.LUN(numbers[i]), target: t}
		if id.uuid, err = ts.g.store.DiskUUID(t.vm.Name, d.cfg.Name); err != nil {
			return err
		}
		d.lun = id
	}
	return nil
}

// lunFault tells that a lun-id is that of another disk, where the file has it.
func (c *Config) lunFault(vm *VMConfig, key string, taken *LUNTakenError) error {
	for j := range vm.Disks {
		if vm.Disks[j].Name == taken.Disk {
			f := c.src.fault(fmt.Sprintf("%s.disks[%d].lun-id", key, j), "is the number of "+taken.Holder+" since that was first seen",
				"a number that no other disk of the VM has, or a lun-id for "+taken.Holder+" too")
			return &ConfigError{File: c.src.file, Faults: []Fault{f}, src: c.src.text}
		}
	}
	return taken
}

// lunIdentity is what initiators know a disk by.
type lunIdentity struct {
	lun    spc.LUN
	uuid   [16]byte
	target *vmTarget
}

// show makes the unit of a disk that has been attached, and maps it. Only the
// goroutine that attaches disks calls it.
func (ts *targets) show(d *servedDisk) error {
	if ts == nil || d.unit.Load() != nil {
		return nil
	}
	kept, err := ts.g.store.Reservations(d.VM(), d.cfg.Name)
	if err != nil {
		return err
	}
	erasure, err := ts.unfinished(d)
	if err != nil {
		return err
	}
	u, err := scsi.NewUnit(scsi.UnitConfig{
		Device: d.Disk, UUID: d.lun.uuid, Product: productName(d.FullName()), ReadOnly: d.cfg.ReadOnly,
		Reservations: kept, Store: &reservationKeeper{ts, d}, Erasure: erasure, Erasures: &erasureKeeper{ts, d},
	})
	if err != nil {
		return fmt.Errorf("disk %s over iSCSI: %w", d.FullName(), err)
	}
	if err := d.lun.target.target.Add(d.lun.lun, scsi.Mapping{
		Unit:   u,
		Origin: backends.Origin{VM: d.VM(), Disk: d.cfg.Name, Priority: d.Disk.Priority()},
	}); err != nil {
		u.Close()
		return err
	}
	d.unit.Store(u)
	return nil
}

// productName is as much of a disk's name as INQUIRY has room for.
func productName(name string) string {
	const room = 16
	return strings.ToUpper(name[:min(len(name), room)])
}

// close ends the units and waits for what is being kept. No session is left.
func (ts *targets) close() {
	if ts == nil {
		return
	}
	for _, d := range ts.g.disks {
		if u := d.unit.Load(); u != nil {
			u.Close()
		}
	}
	ts.saves.close()
}

// reservationKeeper keeps a disk's persistent reservations in the store.
type reservationKeeper struct {
	ts *targets
	d  *servedDisk
}

// SaveReservations writes to the store, which waits for the disk that it is on, on
// a goroutine of its own: they change seldom, and there is never more than one for
// a disk.
func (k *reservationKeeper) SaveReservations(data []byte, done func(error)) {
	k.ts.saves.do(func() {
		err := k.ts.g.store.PutReservations(k.d.VM(), k.d.cfg.Name, data)
		if err != nil {
			k.ts.g.bus.Publish(Event{
				Kind: KindStoreFailed, Severity: SeverityError, VM: k.d.VM(), Disk: k.d.FullName(),
				Message: "a persistent reservation could not be kept and was refused: " + err.Error(),
			})
		}
		done(err)
	})
}

// Open gives an initiator the use of a VM's disks.
func (ts *targets) Open(p *iscsi.Peer, name string) (iscsi.Handle, error) {
	t, err := ts.find(p, name)
	if err != nil {
		return iscsi.Handle{}, err
	}
	if !t.access.proved(p) {
		return iscsi.Handle{}, fmt.Errorf("%w: CHAP user %q is not that of VM %s", iscsi.ErrForbidden, p.User, t.vm.Name)
	}
	if !t.waitDisks(ts.stop, loginWait(time.Since(ts.g.started))) {
		return iscsi.Handle{}, fmt.Errorf("%w: the gateway stops", iscsi.ErrUnavailable)
	}
	if t.empty() {
		return iscsi.Handle{}, fmt.Errorf("%w: none of the disks of VM %s is there", iscsi.ErrUnavailable, t.vm.Name)
	}
	uses, err := ts.newUses(t, p)
	if err != nil {
		return iscsi.Handle{}, err
	}
	ts.tell(KindClientConnected, t, p, "initiator logged in", 1)
	return iscsi.Handle{
		Target: t.target, Port: p.PortalGroupTag, Claims: uses, Lost: uses.lost,
		Close: func() {
			uses.close()
			ts.tell(KindClientDisconnected, t, p, "session of the initiator has ended", -1)
		},
	}, nil
}

// loginWait is how long a login waits for disks in a gateway that runs for that long.
func loginWait(running time.Duration) time.Duration {
	return max(min(targetWait, startWait-running), 0)
}

func (ts *targets) tell(k Kind, t *vmTarget, p *iscsi.Peer, msg string, n int) {
	for _, d := range t.disks {
		d.count(n)
	}
	ts.g.bus.Publish(Event{
		Kind: k, VM: t.vm.Name, Session: p.Connection, Message: msg,
		Attrs: []Attr{{"initiator", p.Initiator}, {"target", t.target.Name()}},
	})
}

// rival tells that two hosts quarrel about one session.
func (ts *targets) rival(p *iscsi.Peer, target, other string) {
	ts.g.bus.Publish(Event{
		Kind: KindClientRival, Severity: SeverityWarning, VM: ts.byName[target].vm.Name, Session: p.Connection,
		Message: "refused: " + other + " uses the same initiator name and ISID",
		Attrs:   []Attr{{"initiator", p.Initiator}, {"isid", p.ISID.String()}},
	})
}

// empty tells whether a login would find nothing, and the initiator had better try
// again: it is told of disks that come later by a unit attention on those it has.
func (t *vmTarget) empty() bool {
	waits := false
	for _, d := range t.disks {
		if d.unit.Load() != nil {
			return false
		}
		waits = waits || d.cfg.Open == OpenWait
	}
	return waits
}

// waitDisks waits, up to limit, for the disks that are not there and that opening is
// to wait for. It tells false when stop is closed before.
func (t *vmTarget) waitDisks(stop <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, d := range t.disks {
		for d.unit.Load() == nil && d.cfg.Open == OpenWait {
			d.mu.Lock()
			changed := d.changed
			d.mu.Unlock()
			if d.unit.Load() != nil {
				break
			}
			select {
			case <-changed:
			case <-timer.C:
				return true
			case <-stop:
				return false
			}
		}
	}
	return true
}
