// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"time"

	"pathgate/backends"
	"pathgate/gateway/nbd"
)

// exports shows the gateway's disks to the NBD server.
type exports Gateway

// List gives every disk that peer may use, available or not, in the order of the
// configuration.
func (x *exports) List(peer nbd.Peer) []nbd.Export {
	var list []nbd.Export
	for _, d := range x.disks {
		if d.vm.NBD.admits(certificate(&peer)) {
			list = append(list, d.export())
		}
	}
	return list
}

func (d *servedDisk) export() nbd.Export {
	e := nbd.Export{Name: d.FullName(), Description: "disk " + d.cfg.Name + " of VM " + d.vm.Name}
	if why := d.whyNot(); why != "" {
		e.Description += ", not available: " + why
	}
	return e
}

// find gives the disk called name, or nil when there is none for peer.
func (x *exports) find(name string, peer *nbd.Peer) *servedDisk {
	d := x.byName[name]
	if d == nil || !d.vm.NBD.admits(certificate(peer)) {
		return nil
	}
	return d
}

// Open gives a client the use of a disk. A disk that is not there yet is waited
// for, as its configuration says.
func (x *exports) Open(ctx context.Context, name string, peer nbd.Peer, mode nbd.Mode) (nbd.Handle, error) {
	d := x.find(name, &peer)
	if d == nil {
		return nbd.Handle{}, x.unknown(name, &peer)
	}
	if err := d.waitAvailable(ctx, mode, x.cfg.NBD.OpenWait); err != nil {
		return nbd.Handle{}, err
	}
	h := nbd.Handle{
		Export: d.export(),
		Device: &outsider{d.Disk, d},
		Origin: &backends.Origin{VM: d.VM(), Disk: d.cfg.Name, Connection: peer.Connection, Priority: d.Disk.Priority()},
	}
	h.Single = d.cfg.MultiConn.single(&peer)
	h.Resize = x.resize(d, &peer)
	if mode != nbd.Use {
		return h, nil
	}
	u, err := x.own(ctx, d, &peer)
	if err != nil {
		return nbd.Handle{}, err
	}
	h.Others = func() bool { return d.own.others(u) }
	h.Lost = func() { d.own.leave(u) }
	d.count(1)
	x.bus.Publish(Event{Kind: KindClientConnected, VM: d.VM(), Disk: d.FullName(), Session: peer.Connection, Message: "client connected"})
	h.Close = func() {
		d.own.end(u)
		d.count(-1)
		x.bus.Publish(Event{Kind: KindClientDisconnected, VM: d.VM(), Disk: d.FullName(), Session: peer.Connection, Message: "client disconnected"})
	}
	return h, nil
}

func (d *servedDisk) count(n int) {
	d.mu.Lock()
	d.clients += n
	d.mu.Unlock()
}

// waitAvailable waits until the disk can be used.
func (d *servedDisk) waitAvailable(ctx context.Context, mode nbd.Mode, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		why := d.whyNot()
		if why == "" {
			return nil
		}
		err := fmt.Errorf("%w: %s is not available: %s", nbd.ErrUnknownExport, d.FullName(), why)
		if mode != nbd.Use || d.cfg.Open == OpenFail {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return err
		case <-ctx.Done():
			return err
		}
	}
}
