// SPDX-License-Identifier: Apache-2.0

//go:build integration

package conformance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	"pathgate/gateway"
	"pathgate/integration/tgtd"
	"pathgate/multipath"
)

// openLUNs gives n disks on LUNs of tgtd, each over two paths of a path manager.
func openLUNs(t *testing.T, n int) (luns []backends.Device) {
	t.Helper()
	s := tgtd.New(t, tgtd.Options{
		Threads: 1, Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: prefix + "below", LUNs: slices.Repeat([]tgtd.LUN{{SizeBytes: diskBytes, Thin: true}}, n)}},
	})
	portals := s.Portals()
	k, err := iscsi.New(iscsi.Config{
		InitiatorName: "iqn.2026-11.test:gateway", Adapter: "vmhba0",
		ISID: func(_ string, _ uint16, portal string) ([6]byte, error) {
			return [6]byte{0x80, 1, 2, 3, 0, byte(slices.Index(portals, portal) + 1)}, nil
		},
		Timeouts: iscsi.Timeouts{
			NOPInterval: 5 * time.Second, NOPTimeout: 30 * time.Second, Login: 30 * time.Second, FenceLogin: 5 * time.Second, Command: 30 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := multipath.New(multipath.Config{
		Adapters: []multipath.Adapter{{Name: "vmhba0", Connector: k}},
		Targets:  []multipath.Target{{Portals: portals}}, Store: &forgetful{targets: map[string]int{}}, Events: silent{}, Run: 1,
		Timers: multipath.Timers{
			Failback: time.Second, Probe: time.Second, SlowProbe: 2 * time.Second,
			Command: 30 * time.Second, Request: time.Minute, Drain: 5 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	t.Cleanup(func() {
		_ = m.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(2 * time.Minute); usedPaths(m) < 2*n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d paths are in use, want %d", usedPaths(m), 2*n)
		}
	}
	for i, d := range m.Devices() {
		rt := gateway.NewRouter(d, gateway.RouterOptions{Device: gateway.ShareDevice{Name: d.State().Name}})
		disk := gateway.NewDisk(gateway.DiskSpec{VM: "vm1", Name: fmt.Sprint("disk", i), Pieces: []gateway.PieceSpec{{Ref: "lun"}}})
		if err := disk.Attach("lun", rt); err != nil {
			t.Fatal(err)
		}
		luns = append(luns, managed{disk, rt})
	}
	return luns
}

func usedPaths(m *multipath.Manager) (n int) {
	for _, p := range m.Paths() {
		if p.Used {
			n++
		}
	}
	return n
}

// managed is a disk that is all of a LUN, as the gateway makes it. The path manager
// closes the LUN.
type managed struct {
	*gateway.Disk
	rt *gateway.Router
}

func (m managed) Close() error {
	defer m.rt.Close()
	return m.Disk.Close()
}

// forgetful is a store of a path manager that keeps target numbers only: nothing
// here restarts, and no path is lost.
type forgetful struct {
	mu      sync.Mutex
	targets map[string]int
}

func (s *forgetful) TargetNumber(target, portal string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := target + " " + portal
	if _, ok := s.targets[key]; !ok {
		s.targets[key] = len(s.targets)
	}
	return s.targets[key], nil
}

func (*forgetful) BindName(string, string) error                   { return nil }
func (*forgetful) Binding(string) (string, bool, error)            { return "", false, nil }
func (*forgetful) PutGhosts(...multipath.GhostRecord) error        { return nil }
func (*forgetful) DeleteGhosts(...multipath.GhostRecord) error     { return nil }
func (*forgetful) Ghosts() ([]multipath.GhostRecord, error)        { return nil, nil }
func (*forgetful) SetPathDisabled(string, bool) error              { return nil }
func (*forgetful) DisabledPaths() (map[string]bool, error)         { return nil, nil }
func (*forgetful) PutSelection(string, *multipath.Selection) error { return nil }
func (*forgetful) Selection(string) (s multipath.Selection, ok bool, err error) {
	return s, false, nil
}

// silent is told events.
type silent struct{}

func (silent) Event(multipath.Event) {}
