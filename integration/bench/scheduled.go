// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"pathgate/backends"
	"pathgate/gateway"
	"pathgate/gateway/nbd"
	"pathgate/share"
)

// schedulerVMs is how many VMs the memory devices of the scheduler rows are
// divided among, and how many wait in the backlogged one.
const schedulerVMs = 8

// tightDepth is the window of the backlogged row, in CU: far less than what the
// VMs have outstanding, so that most of it waits in the scheduler.
const tightDepth = 16

// The devices of ServeScheduled: scheduler off, on with the defaults, and on with
// a window that makes VMs wait.
const (
	deviceOff   = "off"
	deviceOn    = "on"
	deviceTight = "tight"
)

// schedulerPlan is what a device of ServeScheduled goes by.
func schedulerPlan(name string) *gateway.LUNPlan {
	p := &gateway.LUNPlan{Device: name, Enabled: name != deviceOff, Settings: share.DefaultSettings()}
	if name == deviceTight {
		p.Settings.Depth = tightDepth
	}
	return p
}

// scheduled is the devices of ServeScheduled and an export source of their disks.
type scheduled struct {
	devices []*backends.Memory
	routers []*gateway.Router
	disks   []*gateway.Disk
}

// newScheduled makes three memory devices of size bytes, with a router each, and
// disks "vm1/off" to "vm8/tight" that have an equal part of them.
func newScheduled(size uint64) (*scheduled, error) {
	s := &scheduled{}
	for _, name := range []string{deviceOff, deviceOn, deviceTight} {
		dev, err := backends.NewMemory(size)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.devices = append(s.devices, dev)
		rt := gateway.NewRouter(dev, gateway.RouterOptions{Device: gateway.ShareDevice{Name: name}, Plan: schedulerPlan(name)})
		s.routers = append(s.routers, rt)
		for i := range uint64(schedulerVMs) {
			part := size / schedulerVMs
			d := gateway.NewDisk(gateway.DiskSpec{
				VM: vmName(int(i)), Name: name, Priority: share.DefaultPriority,
				Pieces: []gateway.PieceSpec{{Ref: name, Offset: i * part, Length: part}},
			})
			s.disks = append(s.disks, d)
			if err := d.Attach(name, rt); err != nil {
				return nil, errors.Join(err, s.close())
			}
		}
	}
	return s, nil
}

func vmName(i int) string { return "vm" + strconv.Itoa(i+1) }

func (s *scheduled) close() error {
	var errs []error
	for _, d := range s.disks {
		errs = append(errs, d.Close())
	}
	for _, rt := range s.routers {
		rt.Close()
	}
	for _, dev := range s.devices {
		errs = append(errs, dev.Close())
	}
	return errors.Join(errs...)
}

// List gives every disk.
func (s *scheduled) List(nbd.Peer) []nbd.Export {
	var list []nbd.Export
	for _, d := range s.disks {
		list = append(list, nbd.Export{Name: d.FullName()})
	}
	return list
}

// disk gives the disk of a full name, or nil.
func (s *scheduled) disk(name string) *gateway.Disk {
	i := slices.IndexFunc(s.disks, func(d *gateway.Disk) bool { return d.FullName() == name })
	if i < 0 {
		return nil
	}
	return s.disks[i]
}

// Open gives a disk.
func (s *scheduled) Open(_ context.Context, name string, peer nbd.Peer, _ nbd.Mode) (nbd.Handle, error) {
	d := s.disk(name)
	if d == nil {
		return nbd.Handle{}, nbd.ErrUnknownExport
	}
	return nbd.Handle{
		Export: nbd.Export{Name: name}, Device: d,
		Origin: &backends.Origin{VM: d.VM(), Disk: name, Connection: peer.Connection, Priority: backends.NewPriority(share.DefaultPriority)},
	}, nil
}

// Waits tells how many requests a scheduler has had, and how many of them did not
// pass it at once.
type Waits struct{ Requests, Queued uint64 }

func (w Waits) since(before Waits) Waits {
	return Waits{w.Requests - before.Requests, w.Queued - before.Queued}
}

// waits gives those of every device, by name.
func (s *scheduled) waits() map[string]Waits {
	all := map[string]Waits{}
	for _, rt := range s.routers {
		var w Waits
		for _, f := range rt.Flows() {
			st := f.Stats()
			w.Requests += st.Reads + st.Writes + st.Others + st.Errors
		}
		var snap share.Snapshot
		rt.ShareStatus(&snap)
		for i := range snap.Flows {
			for _, n := range snap.Flows[i].ByPhase {
				w.Queued += n
			}
		}
		all[rt.ShareDevice().Name] = w
	}
	return all
}

// waitsSocket is where the server of an NBD socket tells its Waits.
func waitsSocket(socket string) string { return socket + ".waits" }

// ServeScheduled serves memory devices of size bytes with the gateway's NBD
// server, disks and routers on a unix socket, until ctx ends. Their schedulers are
// off, on, and on with a small window. Who connects to the socket's name and
// ".waits" is told their Waits as JSON.
func ServeScheduled(ctx context.Context, socket string, size uint64) (err error) {
	s, err := newScheduled(size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	server, err := nbd.New(nbd.Config{Exports: s})
	if err != nil {
		return fmt.Errorf("serve scheduled: %w", err)
	}
	status, err := net.Listen("unix", waitsSocket(socket))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := status.Accept()
			if err != nil {
				return
			}
			_ = json.NewEncoder(c).Encode(s.waits()) // who does not read it has no figures
			_ = c.Close()
		}
	})
	defer wg.Wait()
	defer status.Close()
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return server.Serve(ctx, l)
}

// askWaits gets what ServeScheduled tells.
func askWaits(ctx context.Context, socket string) (map[string]Waits, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", waitsSocket(socket))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all := map[string]Waits{}
	if err := json.NewDecoder(c).Decode(&all); err != nil {
		return nil, fmt.Errorf("waits of %s: %w", socket, err)
	}
	return all, nil
}
