// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"pathgate/gateway/control"
)

// fakeGateway is a made-up gateway behind a real control server.
type fakeGateway struct {
	path string

	mu     sync.Mutex
	state  *fakeState
	cancel context.CancelFunc
	done   chan error
}

// start serves what kind names; events are numbered anew.
func (f *fakeGateway) start(kind string) error {
	s := &fakeState{wake: make(chan struct{})}
	switch kind {
	case "NORMAL":
		s.normal()
	case "EMPTY":
	case "HOSTILE":
		s.hostile()
	default:
		return fmt.Errorf("there is no gateway %q", kind)
	}
	ln, err := control.Listen(f.path, 0o600)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	f.state, f.cancel, f.done = s, cancel, make(chan error, 1)
	go func() { f.done <- control.NewServer(s, control.Options{}).Serve(ctx, ln) }()
	return nil
}

func (f *fakeGateway) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		f.cancel()
		<-f.done
		f.cancel = nil
	}
}

func (f *fakeGateway) publish(e control.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.publish(e)
}

// fakeState is the Source.
type fakeState struct {
	fakeShares
	paths   []control.Path
	devices []control.Device
	disks   []control.Disk
	vms     []control.VM

	mu     sync.Mutex
	rescan control.Rescan
	events []control.Event
	wake   chan struct{}
}

// normal: a device with four paths, of which one is down, and disks on it.
func (s *fakeState) normal() {
	s.normalShares()
	hours := func(n int) time.Time { return time.Now().Add(-time.Duration(n)*time.Hour - 30*time.Minute) }
	for i, health := range []string{"up", "up", "down", "marginal"} {
		p := control.Path{
			Name: fmt.Sprintf("vmhba%d:%d:1", i/2, i), Device: "vmhba0:0:1", Adapter: fmt.Sprintf("vmhba%d", i/2),
			Target: "iqn.2026-11.example:store", Portal: fmt.Sprintf("127.0.0.1:1326%d", i), LUN: 1,
			Health: health, Access: "optimized", Used: health == "up", Generation: 1, Since: hours(3),
			Inflight: 12 * i, BytesRead: 5 << 30, BytesWritten: 1234567, LatencyUs: 850,
		}
		if p.Used {
			p.VMs = []string{"vm1", "vm2"}[i:]
		}
		if health == "down" {
			p.Reason, p.Errors, p.Generation, p.LatencyUs = "no answer to NOP-Out", 3, 17, 0
		}
		s.paths = append(s.paths, p)
	}
	s.devices = []control.Device{
		{
			Name: "vmhba0:0:1", Aliases: []string{"gold"}, Identity: "naa.60014051234567890", Size: 10 << 30, BlockSize: 512,
			Vendor: "ACME", Product: "VIRTUAL DISK", PathsUp: 3, PathsUsed: 2, PathsTotal: 4, Selector: "service-time",
			Cache: "protected", AllPathsDown: "queue", Inflight: 24, State: control.DeviceDegraded, UsedBy: []string{"vm1/root", "vm2/root"},
		},
		{
			Name: "vmhba0:0:2", Identity: "t10.IET     00010002", Weak: true, Size: 1536 << 20, BlockSize: 4096, Vendor: "IET",
			Product: "VIRTUAL-DISK", PathsTotal: 1, Selector: "round-robin", Cache: "volatile", AllPathsDown: "auto",
			DownSince: hours(2), Inflight: 5, Queued: 4, Held: map[string]int{"no-path": 3, "fence": 1},
			Ghosts: []control.Ghost{{Path: "vmhba0:0:2", Length: 4096}}, State: control.DeviceAllPathsDown, Reason: "no path left",
		},
	}
	s.disks = []control.Disk{
		{
			Name: "vm1/root", VM: "vm1", Size: 64 << 20, Available: true, Connections: 1, Outstanding: 24, PathsUp: 3, PathsTotal: 4,
			Extents: []control.Extent{{LUN: "gold", Device: "vmhba0:0:1", Length: 64 << 20}},
		},
		{Name: "vm1/scratch", VM: "vm1", LUN: new(uint16(2)), Size: 1 << 30, Available: true, File: "/var/lib/pathgate/scratch.img", ReadOnly: true},
		{
			Name: "vm2/root", VM: "vm2", Why: "vmhba7:0:1 has not been found", PathsTotal: 1,
			Extents: []control.Extent{{LUN: "vmhba0:0:2"}, {LUN: "vmhba7:0:1"}, {LUN: "gold"}},
		},
	}
	s.vms = []control.VM{
		{
			Name: "vm1", Priority: 5, Disks: []string{"vm1/root", "vm1/scratch"}, Reads: 1000, Writes: 200,
			BytesRead: 4096000, BytesWritten: 819200, Inflight: 24,
		},
		{Name: "vm2", Priority: 10, Disks: []string{"vm2/root"}, Errors: 1, Inflight: 5, Held: map[string]int{"no-path": 3, "fence": 1}},
	}
}

// hostile: texts from targets and files that a terminal must not see.
func (s *fakeState) hostile() {
	const evil = "\x1b[2J\u009b31m\u202egpj\xff\ttab\nline"
	s.hostileShares(evil)
	s.paths = []control.Path{{Name: "vmhba0:0:1", Device: "vmhba0:0:1", Target: evil, Health: "down", Reason: evil}}
	s.devices = []control.Device{{Name: "vmhba0:0:1", Identity: evil, Vendor: evil, Product: evil}}
	s.disks = []control.Disk{{Name: "vm1/root", File: evil, Why: evil}}
	s.vms = []control.VM{{Name: evil, Disks: []string{"vm1/root"}}}
	s.publish(control.Event{Kind: "path-down", Severity: "warning", Message: evil, Attrs: control.Attrs{{Key: evil, Value: evil}}})
}

func (s *fakeState) Version() control.Version  { return control.BuildVersion() }
func (s *fakeState) Devices() []control.Device { return s.devices }
func (s *fakeState) Disks() []control.Disk     { return s.disks }
func (s *fakeState) VMs() []control.VM         { return s.vms }

func (s *fakeState) Paths() []control.Path {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.paths)
}

func (s *fakeState) SetPathEnabled(name string, enabled bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.paths {
		if p := &s.paths[i]; p.Name == name {
			p.Disabled, p.Health = !enabled, "disabled"
			if enabled {
				p.Health = "unknown"
			}
			return nil
		}
	}
	return control.ErrNotFound
}

func (s *fakeState) publish(e control.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Seq = uint64(len(s.events)) + 1
	e.Time = time.Date(2026, 11, 22, 12, 0, int(e.Seq), 0, time.UTC)
	s.events = append(s.events, e)
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *fakeState) LastEvent() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.events))
}

func (s *fakeState) Events(ctx context.Context, from uint64) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		for next := max(from, 1); ; {
			s.mu.Lock()
			events, wake := s.events, s.wake
			s.mu.Unlock()
			if next <= uint64(len(events)) {
				if ctx.Err() != nil || !yield(events[next-1]) {
					return
				}
				next++
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
		}
	}
}

// isClean tells whether a text has nothing that a terminal acts on but newlines.
func isClean(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e)
	})
}
