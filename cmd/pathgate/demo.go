// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pathgate/backends/embedded"
	"pathgate/gateway"
	"pathgate/gateway/control"
)

const (
	demoTarget  = "iqn.2026-11.internal.pathgate:demo"
	demoLUNSize = 192 << 20
	demoVMs     = 3
	demoTick    = time.Second
	demoBefore  = 3 // ticks before the path is cut, without it, and after its return
	demoCut     = 4
	demoAfter   = 3
)

// newDemoCmd makes "pathgate demo".
func newDemoCmd() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three VMs' disks surviving the loss of a path",
		Long: `Run the whole gateway on this machine, with nothing but this program: an iSCSI
target in a child process with portals on two loopback addresses, a session to
each from an adapter of its own, and three VMs whose disks are parts of the LUN.
While the VMs write, read back and compare, one path is cut and restored.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d := &demo{out: cmd.OutOrStdout()}
			return d.run(ctx, keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the temporary directory, with the gateway's log")
	return cmd
}

// demo is one run.
type demo struct {
	out    io.Writer
	dir    string
	target *embedded.Target
	relays [2]*embedded.Relay // one before each portal: what is cut
	gw     *gateway.Gateway
	api    *control.Client
	vms    []*demoVM
	worst  time.Duration // longest request
	begin  time.Time     // of the story
	cut    time.Time     // of the path

	printing sync.Mutex // lines of events come between those of ticks
}

// run sets everything up, shows it, and takes it down. The error is not nil when
// a VM has seen an error or wrong data.
func (d *demo) run(ctx context.Context, keep bool) (err error) {
	if d.dir, err = os.MkdirTemp("", "pathgate-demo-"); err != nil {
		return err
	}
	defer func() {
		if !keep {
			err = errors.Join(err, os.RemoveAll(d.dir))
		}
	}()
	fmt.Fprintf(d.out, "pathgate demo: a target, two paths, three VMs, all on this machine (state in %s)\n\n", d.dir)
	if err := d.startTarget(ctx); err != nil {
		return err
	}
	defer d.stopTarget()
	stopped, err := d.startGateway(ctx)
	if err != nil {
		return err
	}
	err = d.show(ctx)
	return errors.Join(err, stopped())
}

func (d *demo) startTarget(ctx context.Context) error {
	target, err := embedded.Start(ctx, embedded.Options{
		Dir: d.dir, Target: demoTarget, Portals: []string{"127.0.0.1:0", "127.0.0.2:0"},
		LUNs: []embedded.LUN{{File: filepath.Join(d.dir, "lun.img"), Size: demoLUNSize}},
	})
	if err != nil {
		return fmt.Errorf("start the embedded target: %w", err)
	}
	d.target = target
	for i, p := range target.Portals() {
		r, err := embedded.NewRelay(fmt.Sprintf("127.0.0.%d:0", i+1), p)
		if err != nil {
			return errors.Join(err, target.Close())
		}
		d.relays[i] = r
	}
	return nil
}

func (d *demo) stopTarget() {
	for _, r := range d.relays {
		if r != nil {
			_ = r.Close()
		}
	}
	_ = d.target.Close()
}

// demoConfig is what an operator would write.
const demoConfig = `state: %[1]s/state
control: unix:%[1]s/control.sock
initiator: iqn.2026-11.internal.pathgate:demo-host
adapters:
  - {name: vmhba0, address: 127.0.0.1}
  - {name: vmhba1, address: 127.0.0.2}
targets:
  - {portals: ["%[2]s"], adapters: [vmhba0]}
  - {portals: ["%[3]s"], adapters: [vmhba1]}
luns:
  - {id: "*", selector: service-time, all-paths-down: queue, cache: protected}
vms:
  - {name: vm1, priority: 5, disks: [{name: root, lun: "%[4]s", offset: 0, size: 64MiB}]}
  - {name: vm2, priority: 5, disks: [{name: root, lun: "%[4]s", offset: 64MiB, size: 64MiB}]}
  - {name: vm3, priority: 2, disks: [{name: root, lun: "%[4]s", offset: 128MiB, size: 64MiB}]}
nbd:
  listen: [unix:%[1]s/nbd.sock]
timeouts: {failback: 1s}
`

// startGateway runs the gateway and gives what stops it.
func (d *demo) startGateway(ctx context.Context) (stopped func() error, err error) {
	text := fmt.Sprintf(demoConfig, d.dir, d.relays[0].Addr(), d.relays[1].Addr(), "vmhba0:0:1")
	file := filepath.Join(d.dir, "pathgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, err := gateway.Load(file)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(d.dir, "gateway.log"))
	if err != nil {
		return nil, err
	}
	d.gw, err = gateway.New(cfg, gateway.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Version: control.BuildVersion()})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.gw.Run(running) }()
	stopped = func() error {
		cancel()
		return errors.Join(<-done, log.Close())
	}
	select {
	case <-d.gw.Ready():
	case err := <-done:
		done <- err
		return nil, stopped()
	}
	if d.api, err = control.Dial("unix:" + filepath.Join(d.dir, "control.sock")); err != nil {
		return nil, errors.Join(err, stopped())
	}
	return stopped, nil
}

// show runs the VMs and the story, and judges it.
func (d *demo) show(ctx context.Context) error {
	if err := d.waitPaths(ctx, 2); err != nil {
		return err
	}
	if err := d.printPaths(ctx); err != nil {
		return err
	}
	stop := make(chan struct{})
	var guests sync.WaitGroup
	for i := range demoVMs {
		vm := &demoVM{name: fmt.Sprintf("vm%d", i+1)}
		d.vms = append(d.vms, vm)
		guests.Go(func() { vm.run(filepath.Join(d.dir, "nbd.sock"), vm.name+"/root", stop) })
	}
	err := d.story(ctx)
	close(stop)
	guests.Wait()
	if ctx.Err() != nil {
		fmt.Fprintln(d.out, "\ninterrupted")
		return nil
	}
	return errors.Join(err, d.verdict())
}

// story lets the VMs run, cuts a path, and restores it.
func (d *demo) story(ctx context.Context) error {
	fmt.Fprintf(d.out, "\n%10s %10s %10s %10s %14s   %s\n", "time", "vm1", "vm2", "vm3", "slowest I/O", "paths in use")
	d.begin = time.Now()
	if err := d.ticks(ctx, demoBefore); err != nil {
		return err
	}
	from, err := d.lastEvent(ctx)
	if err != nil {
		return err
	}
	lost := make(chan struct{})
	following, stop := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { d.tell(following, from, lost) })
	defer teller.Wait()
	defer stop()

	d.cut = time.Now()
	d.say(d.cut, "*** path vmhba1 is cut: its connection is reset, new ones are refused")
	d.relays[1].Cut()
	if err := d.ticks(ctx, demoCut); err != nil {
		return err
	}
	select {
	case <-lost:
	default:
		return fmt.Errorf("the gateway told of no lost path within %v of the cut", demoCut*demoTick)
	}
	d.say(time.Now(), "*** path vmhba1 is restored")
	if err := d.relays[1].Restore(); err != nil {
		return err
	}
	if err := d.waitPaths(ctx, 2); err != nil {
		return err
	}
	return d.ticks(ctx, demoAfter)
}

// ticks prints n lines, one each second.
func (d *demo) ticks(ctx context.Context, n int) error {
	last := make([]uint64, len(d.vms))
	for i, vm := range d.vms {
		last[i] = vm.ios.Load()
	}
	tick := time.NewTicker(demoTick)
	defer tick.Stop()
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		line := fmt.Sprintf("%9.1fs", time.Since(d.begin).Seconds())
		var slowest time.Duration
		for i, vm := range d.vms {
			now := vm.ios.Load()
			line += fmt.Sprintf(" %8d/s", now-last[i])
			last[i] = now
			slowest = max(slowest, vm.takeStall())
		}
		d.worst = max(d.worst, slowest)
		paths, err := d.api.Paths(ctx)
		if err != nil {
			return err
		}
		line += fmt.Sprintf(" %14v  ", slowest.Round(10*time.Microsecond))
		for _, p := range paths {
			if p.Used {
				line += " " + p.Name
			}
		}
		d.printing.Lock()
		fmt.Fprintln(d.out, line)
		d.printing.Unlock()
	}
	return nil
}

// lastEvent gives the number of the newest event.
func (d *demo) lastEvent(ctx context.Context) (uint64, error) {
	one := uint64(1)
	list, err := d.api.Events(ctx, control.EventQuery{Newest: &one})
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0].Seq, nil
}

// tell prints what the gateway says of the lost path, as it comes, and closes
// lost when it knows of the loss. A failover is told only if a request was in
// flight on that path.
func (d *demo) tell(ctx context.Context, from uint64, lost chan<- struct{}) {
	told := false
	for e, err := range d.api.Follow(ctx, control.EventQuery{From: from + 1}, control.FollowOptions{}) {
		if err != nil {
			return
		}
		text := ""
		switch e.Kind {
		case gateway.KindPathDown.String():
			text = fmt.Sprintf("path %s is lost %v after the cut: %s", e.Path, e.Time.Sub(d.cut).Round(10*time.Microsecond), e.Message)
			if !told {
				told = true
				close(lost)
			}
		case gateway.KindFailover.String():
			text = fmt.Sprintf("failover complete %v after the cut: %s request(s) that were in flight went out on the other path",
				e.Time.Sub(d.cut).Round(10*time.Microsecond), cmp.Or(attr(e, "requests"), "0"))
		case gateway.KindGhostHeld.String():
			text = fmt.Sprintf("%s write(s) may still run on the lost path: a newer one to the same blocks waits", attr(e, "requests"))
		case gateway.KindFenceDone.String():
			text = fmt.Sprintf("old writes of %s are fenced by %s: %s newer write(s) go on", e.Path, attr(e, "method"), cmp.Or(attr(e, "held"), "0"))
		case gateway.KindFailback.String():
			text = fmt.Sprintf("path %s has been stable and is in use again", e.Path)
		default:
			continue
		}
		d.say(e.Time, text)
	}
}

// attr gives a detail of an event, or "".
func attr(e control.Event, key string) string {
	for _, a := range e.Attrs {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// say prints a line that belongs to a moment.
func (d *demo) say(at time.Time, text string) {
	d.printing.Lock()
	defer d.printing.Unlock()
	fmt.Fprintf(d.out, "%9.3fs   %s\n", at.Sub(d.begin).Seconds(), text)
}

// waitPaths waits until n paths are in use.
func (d *demo) waitPaths(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		paths, err := d.api.Paths(ctx)
		if err != nil {
			return fmt.Errorf("wait for %d paths: %w", n, err)
		}
		used := 0
		for _, p := range paths {
			if p.Used {
				used++
			}
		}
		if used >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d paths after 30 s (see %s)", used, n, filepath.Join(d.dir, "gateway.log"))
		}
	}
}

func (d *demo) printPaths(ctx context.Context) error {
	paths, err := d.api.Paths(ctx)
	if err != nil {
		return err
	}
	disks, err := d.api.Disks(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "target   %s, process %d\n", demoTarget, d.target.Pid())
	for _, p := range paths {
		fmt.Fprintf(d.out, "path     %s   %s -> %s   %s, %s\n", p.Name, p.Adapter, p.Portal, p.Health, p.Access)
	}
	for _, k := range disks {
		e := k.Extents[0]
		fmt.Fprintf(d.out, "disk     %s   %d MiB of %s at %d MiB, %d of %d paths\n",
			k.Name, k.Size>>20, e.Device, e.Offset>>20, k.PathsUp, k.PathsTotal)
	}
	return nil
}

// verdict sums up, and is an error unless nothing went wrong.
func (d *demo) verdict() error {
	var ios, failed, wrong uint64
	for _, vm := range d.vms {
		ios += vm.ios.Load()
		failed += vm.errors.Load()
		wrong += vm.wrong.Load()
		if vm.lastErr != nil {
			fmt.Fprintf(d.out, "%s: %v\n", vm.name, vm.lastErr)
		}
	}
	fmt.Fprintf(d.out, "\n%d I/Os, %d errors, %d wrong blocks; the slowest I/O took %v\n", ios, failed, wrong, d.worst.Round(10*time.Microsecond))
	if failed > 0 || wrong > 0 || ios == 0 {
		return fmt.Errorf("demo: %d errors, %d wrong blocks in %d I/Os", failed, wrong, ios)
	}
	return nil
}
