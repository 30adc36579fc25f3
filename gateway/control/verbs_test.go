// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// operated is a fake that takes an administrator's verbs.
type operated struct {
	*fake
	done []string

	// disabling, if not nil, is called when a path is taken out of use, before it is.
	disabling func()
	slow      time.Duration // of what waits for a target
	refused   error         // of ResumeDevice and SetQueueing
}

func (f *operated) Operated(o control.Operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := o.Verb
	for _, a := range append(control.Attrs{{Key: "path", Value: o.Path}, {Key: "device", Value: o.Device}}, o.Details...) {
		if a.Value != "" {
			text += " " + a.Key + "=" + a.Value
		}
	}
	f.done = append(f.done, text)
}

func (f *operated) operations() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.done
	f.done = nil
	return list
}

func (f *operated) SetPathEnabled(name string, enabled bool) error {
	if f.disabling != nil {
		f.disabling()
	}
	return f.fake.SetPathEnabled(name, enabled)
}

func (f *operated) FailPath(name string, _ bool) error            { return f.SetPathEnabled(name, false) }
func (f *operated) ReinstatePath(string) error                    { return nil }
func (f *operated) PathHistory(string) []control.PathChange       { return nil }
func (f *operated) Rescan() control.Rescan                        { return control.Rescan{} }
func (f *operated) SetAlias(_ context.Context, _, _ string) error { return nil }
func (f *operated) RemoveAlias(context.Context, string) error     { return nil }
func (f *operated) Simulate(string, []string) (control.Simulation, error) {
	return control.Simulation{}, nil
}

func (f *operated) StartRescan(adapter string) error {
	if adapter != "" && adapter != "vmhba0" {
		return control.ErrNotFound
	}
	return nil
}

func (f *operated) SwitchGroup(ctx context.Context, _ string, _ uint16) error { return f.wait(ctx) }

func (f *operated) SuspendDevice(ctx context.Context, _ string) error { return f.wait(ctx) }
func (f *operated) ResumeDevice(string) error                         { return f.refused }
func (f *operated) SetQueueing(string, string) error                  { return f.refused }

func (f *operated) wait(ctx context.Context) error {
	select {
	case <-time.After(f.slow):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *operated) Reservations() []control.Reservation {
	return []control.Reservation{{Device: "vmhba0:0:1"}}
}

func (f *operated) Reservation(context.Context, string) (control.Reservation, error) {
	return control.Reservation{}, nil
}

func (f *operated) PreemptReservation(ctx context.Context, _ string, _ uint64, _ uint32) (control.ReservationPreempted, error) {
	return control.ReservationPreempted{}, f.wait(ctx)
}

func (f *operated) ResizeDisk(disk string, to control.Resize) (control.Resized, error) {
	return control.Resized{Disk: disk, From: 512, Size: to.Size}, f.refused
}

func (f *operated) Rules() []control.Rule         { return nil }
func (f *operated) MaskedPaths() []control.Path   { return nil }
func (f *operated) CheckRules() control.RuleCheck { return control.RuleCheck{} }
func (f *operated) AddRule(control.RuleChange) (control.RuleCheck, error) {
	return control.RuleCheck{}, nil
}

func (f *operated) RemoveRule(int, control.RuleChange) (control.RuleCheck, error) {
	return control.RuleCheck{}, nil
}

// TestEachVerbIsTold: what an administrator changes is told, with who asked for it;
// what only asks, or asks for nothing that there is, is not.
func TestEachVerbIsTold(t *testing.T) {
	src := &operated{fake: newFake()}
	addr, _ := serve(t, src, control.Options{})
	c := dial(t, addr)
	ctx := t.Context()
	name, shares, iops, mode := "mru", int64(5), int64(7), "strict"
	for _, tt := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := c.FailPath(ctx, "vmhba2:0:1", true, false); return err }, "path fail path=vmhba2:0:1 device=vmhba0:0:1 hold=true force=false"},
		{func() error { _, err := c.ReinstatePath(ctx, "vmhba2:0:1"); return err }, "path reinstate path=vmhba2:0:1 device=vmhba0:0:1"},
		{func() error { _, err := c.DisablePath(ctx, "vmhba2:0:1", true); return err }, "path disable path=vmhba2:0:1 device=vmhba0:0:1 force=true"},
		{func() error { _, err := c.EnablePath(ctx, "vmhba2:0:1"); return err }, "path enable path=vmhba2:0:1 device=vmhba0:0:1"},
		{func() error { _, err := c.StartRescan(ctx, ""); return err }, "rescan"},
		{func() error { _, err := c.StartRescan(ctx, "vmhba0"); return err }, "rescan adapter=vmhba0"},
		{func() error { _, err := c.StartRescan(ctx, "vmhba9"); return missing(err) }, ""},
		{func() error { _, err := c.SwitchGroup(ctx, "gold", 2); return err }, "device switch-group device=vmhba0:0:1 group=2"},
		{func() error { _, err := c.SuspendDevice(ctx, "gold", 5*time.Second); return err }, "device suspend device=vmhba0:0:1 wait=5s"},
		{func() error { _, err := c.SuspendDevice(ctx, "nothing", 0); return missing(err) }, ""},
		{func() error { _, err := c.ResumeDevice(ctx, "gold"); return err }, "device resume device=vmhba0:0:1"},
		{func() error { _, err := c.ResumeDevice(ctx, "nothing"); return missing(err) }, ""},
		{func() error { _, err := c.SetQueueing(ctx, "gold", "off"); return err }, "device queueing device=vmhba0:0:1 queueing=off"},
		{func() error { _, err := c.SetQueueing(ctx, "nothing", "off"); return missing(err) }, ""},
		{func() error {
			out, err := c.ResizeDisk(ctx, "vm1/root", control.Resize{Size: 1024})
			if want := (control.Resized{Disk: "vm1/root", From: 512, Size: 1024}); err == nil && out != want {
				err = fmt.Errorf("%+v, want %+v", out, want)
			}
			return err
		}, "disk resize disk=vm1/root size=1024"},
		{func() error {
			_, err := c.ResizeDisk(ctx, "vm1/root", control.Resize{Size: 2048, Thin: true, Reconnect: true})
			return err
		}, "disk resize disk=vm1/root size=2048 thin=true reconnect=true"},
		{func() error { _, err := c.ResizeDisk(ctx, "vm1/rot", control.Resize{Size: 1024}); return missing(err) }, ""},
		{func() error { return c.SetAlias(ctx, "gold", "a") }, "device alias device=vmhba0:0:1 alias=a"},
		{func() error { return missing(c.SetAlias(ctx, "nothing", "a")) }, ""},
		{func() error { return c.RemoveAlias(ctx, "a") }, "device unalias alias=a"},
		{func() error { _, err := c.SetSelector(ctx, "gold", control.SelectorChange{Name: &name}); return err }, "device set device=vmhba0:0:1 selector=mru"},
		{func() error { _, err := c.ResetSelector(ctx, "gold"); return err }, "device reset device=vmhba0:0:1"},
		{func() error {
			_, err := c.PreemptReservation(ctx, "vmhba0:0:1", control.ReservationPreempt{Gateway: "0x5"})
			return err
		}, "reservation preempt device=vmhba0:0:1 gateway=0x5"},
		{func() error { _, err := c.AddRule(ctx, control.RuleChange{Rule: control.Rule{Number: 5}}); return err }, "rule add rule=5 force=false"},
		{func() error { _, err := c.AddRule(ctx, control.RuleChange{DryRun: true}); return err }, ""},
		{func() error { _, err := c.RemoveRule(ctx, 5, control.RuleChange{Force: true}); return err }, "rule remove rule=5 force=true"},
		{func() error {
			_, err := c.SetDiskShare(ctx, "vm1/root", control.ShareChange{Shares: &shares})
			return err
		}, `share set disk=vm1/root set={"shares":5}`},
		{func() error { _, err := c.ResetDiskShare(ctx, "vm1/root"); return err }, "share reset disk=vm1/root"},
		{func() error { _, err := c.SetVMShare(ctx, "vm1", control.VMShareChange{Priority: &iops}); return err }, `share set vm=vm1 set={"priority":7}`},
		{func() error {
			_, err := c.SetLUNShare(ctx, "vmhba0:0:1", control.LUNShareChange{Mode: &mode})
			return err
		}, `share lun set lun=vmhba0:0:1 set={"mode":"strict"}`},
	} {
		err := tt.do()
		got := strings.Join(src.operations(), "; ")
		if err != nil || got != tt.want {
			t.Errorf("got %q, want %q; %v", got, tt.want, err)
		}
	}
}

// missing is nil for what was refused as not found.
func missing(err error) error {
	if errors.Is(err, control.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("not refused: %w", err)
}

// TestLastPathAtOnce: of two requests at once for the last two paths one is refused,
// though each of them alone would leave a path.
func TestLastPathAtOnce(t *testing.T) {
	for name, change := range map[string]func(context.Context, *control.Client, string) error{
		"disable": func(ctx context.Context, c *control.Client, path string) error {
			_, err := c.DisablePath(ctx, path, false)
			return err
		},
		"fail": func(ctx context.Context, c *control.Client, path string) error {
			_, err := c.FailPath(ctx, path, false, false)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			both := make(chan struct{})
			var entered sync.WaitGroup
			entered.Add(2)
			go func() { entered.Wait(); close(both) }()
			src := &operated{fake: newFake(), disabling: func() {
				entered.Done()
				select { // the other one has looked too, or will not come
				case <-both:
				case <-time.After(100 * time.Millisecond):
				}
			}}
			addr, _ := serve(t, src, control.Options{})
			c := dial(t, addr)
			errs := make([]error, 2)
			var wg sync.WaitGroup
			for i, path := range []string{"vmhba0:0:1", "vmhba1:0:1"} {
				wg.Go(func() { errs[i] = change(t.Context(), c, path) })
			}
			wg.Wait()
			refused := slices.IndexFunc(errs, func(err error) bool { return err != nil })
			if refused < 0 || errs[1-refused] != nil {
				t.Fatalf("both or none: %v", errs)
			}
			if e, ok := errors.AsType[*control.Error](errs[refused]); !ok || e.Code != control.CodeConflict {
				t.Errorf("refused with %v", errs[refused])
			}
			entered.Done() // of the one that was refused
		})
	}
}
