// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// fake is a Source that lives in memory.
type fake struct {
	fakeShares
	mu      sync.Mutex
	paths   []control.Path
	devices []control.Device
	disks   []control.Disk
	vms     []control.VM
	events  []control.Event
	first   uint64 // the oldest event that is kept
	wake    chan struct{}
	refuse  error
	calls   []string
}

func newFake() *fake {
	since := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f := &fake{fakeShares: newFakeShares(), wake: make(chan struct{}), first: 1}
	for i, health := range []string{"up", "up", "down"} {
		f.paths = append(f.paths, control.Path{
			Name: fmt.Sprintf("vmhba%d:0:1", i), Device: "vmhba0:0:1", Adapter: fmt.Sprintf("vmhba%d", i),
			Target: "iqn.2026-11.example:a", Portal: "127.0.0.1:3260", LUN: 1,
			Health: health, Access: "optimized", Since: since,
		})
	}
	f.devices = []control.Device{{
		Name: "vmhba0:0:1", Aliases: []string{"gold"}, Identity: "naa.6001405aaaa", Size: 1 << 30, BlockSize: 512,
		PathsUp: 2, PathsTotal: 3, State: control.DeviceDegraded, UsedBy: []string{"vm1/root"},
	}, {Name: "vmhba0:0:2", Identity: "t10.ACME a/b%2F", State: control.DeviceAvailable}}
	f.disks = []control.Disk{{Name: "vm1/root", VM: "vm1", Size: 1 << 20, Available: true}}
	f.vms = []control.VM{{Name: "vm1", Priority: 5, Disks: []string{"vm1/root"}}}
	return f
}

func (f *fake) Version() control.Version  { return control.Version{Version: "v1"} }
func (f *fake) Devices() []control.Device { return f.devices }
func (f *fake) Disks() []control.Disk     { return f.disks }
func (f *fake) VMs() []control.VM         { return f.vms }

func (f *fake) Paths() []control.Path {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]control.Path(nil), f.paths...)
}

func (f *fake) SetPathEnabled(name string, enabled bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprint(name, " ", enabled))
	if f.refuse != nil {
		return f.refuse
	}
	for i := range f.paths {
		if p := &f.paths[i]; p.Name == name {
			p.Disabled = !enabled
			if p.Health = "disabled"; enabled {
				p.Health = "up"
			}
		}
	}
	return nil
}

func (f *fake) publish(message string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, control.Event{
		Seq: f.first + uint64(len(f.events)), Kind: "path-down", Severity: "warning", Message: message,
		Attrs: control.Attrs{{Key: "z", Value: "1"}, {Key: "a", Value: "2"}},
	})
	close(f.wake)
	f.wake = make(chan struct{})
}

func (f *fake) LastEvent() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first + uint64(len(f.events)) - 1
}

func (f *fake) Events(ctx context.Context, from uint64) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		next := max(from, f.first)
		for {
			f.mu.Lock()
			var e control.Event
			i, wake := next-f.first, f.wake
			ok := i < uint64(len(f.events))
			if ok {
				e = f.events[i]
			}
			f.mu.Unlock()
			if ok {
				if ctx.Err() != nil || !yield(e) {
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

// serve runs a server for src at a socket of its own; stop ends it and may be called
// twice.
func serve(t *testing.T, src control.Source, o control.Options) (addr string, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	return "unix:" + path, serveAt(t, path, src, o)
}

func serveAt(t *testing.T, path string, src control.Source, o control.Options) (stop func()) {
	t.Helper()
	ln, err := control.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, src, o)
}

func serveOn(t *testing.T, ln net.Listener, src control.Source, o control.Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := control.NewServer(src, o)
	go func() { done <- s.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func dial(t *testing.T, addr string) *control.Client {
	t.Helper()
	c, err := control.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientAndServer(t *testing.T) {
	addr, _ := serve(t, newFake(), control.Options{})
	c := dial(t, addr)
	ctx := t.Context()

	paths, err := c.Paths(ctx)
	if err != nil || len(paths) != 3 || paths[2].Health != "down" || paths[0].Since.Year() != 2026 {
		t.Errorf("Paths: %+v, %v", paths, err)
	}
	for _, name := range []string{"vmhba0:0:1", "gold", "naa.6001405aaaa"} {
		if d, err := c.Device(ctx, name); err != nil || d.Size != 1<<30 {
			t.Errorf("Device(%q): %+v, %v", name, d, err)
		}
	}
	if d, err := c.Device(ctx, "t10.ACME a/b%2F"); err != nil || d.Name != "vmhba0:0:2" {
		t.Errorf("a device with a slash in its identity: %+v, %v", d, err)
	}
	if d, err := c.Disk(ctx, "vm1/root"); err != nil || !d.Available {
		t.Errorf("Disk: %+v, %v", d, err)
	}
	if v, err := c.VM(ctx, "vm1"); err != nil || v.Priority != 5 {
		t.Errorf("VM: %+v, %v", v, err)
	}
	v, err := c.Version(ctx)
	if err != nil || v.API != "v1" || v.Run == "" || v.PID == 0 || v.Version != "v1" {
		t.Errorf("Version: %+v, %v", v, err)
	}
}

func TestDisableAndEnable(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c := dial(t, addr)
	ctx := t.Context()
	for range 2 { // the second time changes nothing
		if p, err := c.DisablePath(ctx, "vmhba0:0:1", false); err != nil || !p.Disabled || p.Health != "disabled" {
			t.Errorf("disable: %+v, %v", p, err)
		}
	}
	_, err := c.DisablePath(ctx, "vmhba1:0:1", false)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeConflict {
		t.Errorf("the last usable path was disabled: %v", err)
	}
	if p, err := c.DisablePath(ctx, "vmhba1:0:1", true); err != nil || !p.Disabled {
		t.Errorf("disable by force: %+v, %v", p, err)
	}
	if p, err := c.EnablePath(ctx, "vmhba1:0:1"); err != nil || p.Disabled {
		t.Errorf("enable: %+v, %v", p, err)
	}
	src.refuse = errors.New("disk full")
	_, err = c.EnablePath(ctx, "vmhba1:0:1")
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeInternal || e.Message != "path vmhba1:0:1: disk full" {
		t.Errorf("a store that fails: %v", err)
	}
	src.refuse = fmt.Errorf("x: %w", control.ErrNotFound)
	if _, err = c.EnablePath(ctx, "vmhba1:0:1"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("a path that has just gone: %v", err)
	}
}

func (f *fake) SetSelector(device string, c control.SelectorChange) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprint("selector ", device))
	if f.refuse != nil {
		return f.refuse
	}
	for i := range f.devices {
		if d := &f.devices[i]; d.Name == device {
			d.Selector, d.SelectorSet = *c.Name, true
		}
	}
	return nil
}

func (f *fake) ResetSelector(device string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprint("reset ", device))
	for i := range f.devices {
		if d := &f.devices[i]; d.Name == device {
			d.Selector, d.SelectorSet = "service-time", false
		}
	}
	return f.refuse
}
