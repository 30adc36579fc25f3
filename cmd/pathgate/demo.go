// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

const (
	demoTarget  = "iqn.2026-11.internal.pathgate:demo"
	demoLUNSize = 192 << 20
	demoVMs     = 3

	// demoCapacity is what both paths carry together, in CU/s, and so in requests of
	// demoBlock: little, so that the paths and not the processor are what is scarce.
	demoCapacity = 1000
	// demoWire is what a request of demoBlock is on a path: data, and two PDU headers,
	// of the command and of the answer.
	demoWire = demoBlock + 2*48
	// demoPathRate is what one path carries, in bytes per second.
	demoPathRate = demoCapacity / 2 * demoWire
	// demoDepth is the window, in CU.
	demoDepth = 16
	// demoMargin is how far a VM may be above its part, in percent of it: a few requests
	// within the tenth of a second by which the scheduler judges.
	demoMargin = 20
)

// demoShares are the VMs' shares.
var demoShares = [demoVMs]int{2000, 2000, 1000}

// newDemoCmd makes "pathgate demo".
func newDemoCmd() *cobra.Command {
	var keep, plain bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three VMs' shares of a LUN being held, also when a path is lost",
		Long: `Run the whole gateway on this machine, with nothing but this program: an iSCSI
target ("pathgate target") in a child process with portals on two loopback addresses, a
path of a fixed rate to each from an adapter of its own, and three VMs whose disks are
parts of the LUN. The VMs write, read back and compare. The table shows what each gets
of the LUN beside what it is entitled to by its shares, while one VM goes idle and comes
back, one path is cut and restored, a priority is set, and the target is killed and
started again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			d := &demo{screen: newDemoScreen(cmd.OutOrStdout(), plain)}
			return d.run(ctx, keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the temporary directory, with the log")
	cmd.Flags().BoolVar(&plain, "plain", false, "print a line for each second on a terminal, too")
	return cmd
}

// demo is one run.
type demo struct {
	screen *demoScreen
	dir    string
	log    *os.File // of the gateway and the target
	target *demoStorage
	relays [demoPaths]*relay // one before each portal: what is slow, and what is cut
	gw     *gateway.Gateway
	api    *control.Client
	vms    []*demoVM
	begin  time.Time // of the story
	worst  demoWorst
	told   demoTold
	fault  atomic.Pointer[demoFault] // the last that was made
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
	d.screen.printf("pathgate demo: a target, two paths, three VMs, all on this machine (state in %s)\n", d.dir)
	if d.log, err = os.Create(filepath.Join(d.dir, "demo.log")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.log.Close()) }()
	if err := d.startTarget(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stopTarget()) }()
	stopped, err := d.startGateway(ctx)
	if err != nil {
		return err
	}
	return errors.Join(d.show(ctx), stopped())
}

// startTarget starts the target and leads the relays there, which it makes the first
// time.
func (d *demo) startTarget() (err error) {
	if d.target, err = startDemoStorage(filepath.Join(d.dir, "lun.img"), d.log); err != nil {
		return err
	}
	for i, p := range d.target.served.Portals {
		if d.relays[i] != nil {
			d.relays[i].lead(p.Address)
		} else if d.relays[i], err = newRelay(fmt.Sprintf("127.0.0.%d:0", i+1), p.Address, demoPathRate); err != nil {
			return errors.Join(err, d.stopTarget())
		}
	}
	return nil
}

func (d *demo) stopTarget() error {
	for _, r := range d.relays {
		if r != nil {
			r.close()
		}
	}
	return d.target.stop()
}

// demoConfig is what an operator would write. The cache is the kernel's, which a killed
// target leaves as it is.
const demoConfig = `state: %[1]s/state
control: unix:%[1]s/control.sock
initiator: iqn.2026-11.internal.pathgate:demo-host
adapters:
  - {name: vmhba0, address: 127.0.0.1}
  - {name: vmhba1, address: 127.0.0.2}
targets:
  - {portals: ["%[2]s"], adapters: [vmhba0], bandwidth: %[5]dB/s}
  - {portals: ["%[3]s"], adapters: [vmhba1], bandwidth: %[5]dB/s}
luns:
  - {id: "*", selector: service-time, all-paths-down: queue, cache: protected,
     reservation: {mode: exclusive-all-registrants}, scheduler: {capacity: %[6]d, depth: %[7]d, over-margin: %[11]d}}
vms:
  - {name: vm1, disks: [{name: root, lun: "%[4]s", offset: 0, size: 64MiB, shares: %[8]d}]}
  - {name: vm2, disks: [{name: root, lun: "%[4]s", offset: 64MiB, size: 64MiB, shares: %[9]d}]}
  - {name: vm3, disks: [{name: root, lun: "%[4]s", offset: 128MiB, size: 64MiB, shares: %[10]d}]}
nbd:
  listen: [unix:%[1]s/nbd.sock]
timeouts: {failback: 1s}
`

// startGateway runs the gateway and gives what stops it.
func (d *demo) startGateway(ctx context.Context) (stopped func() error, err error) {
	text := fmt.Sprintf(demoConfig, d.dir, d.relays[0].addr(), d.relays[1].addr(), "vmhba0:0:0",
		demoPathRate, demoCapacity, demoDepth, demoShares[0], demoShares[1], demoShares[2], demoMargin)
	file := filepath.Join(d.dir, "pathgate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, err := gateway.Load(file)
	if err != nil {
		return nil, err
	}
	d.gw, err = gateway.New(cfg, gateway.Options{Logger: slog.New(slog.NewTextHandler(d.log, nil)), Version: control.BuildVersion()})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.gw.Run(running) }()
	stopped = func() error {
		cancel()
		return <-done
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
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	if err := d.printSetup(ctx); err != nil {
		return err
	}
	stop := make(chan struct{})
	var guests sync.WaitGroup
	for i := range demoVMs {
		vm := newDemoVM(fmt.Sprintf("vm%d", i+1))
		d.vms = append(d.vms, vm)
		guests.Go(func() { vm.run(filepath.Join(d.dir, "nbd.sock"), vm.name+"/root", stop) })
	}
	results, err := d.story(ctx)
	close(stop)
	guests.Wait()
	d.screen.leave()
	if ctx.Err() != nil {
		d.screen.printf("\ninterrupted")
		return d.wrongData() // errors are what stopping may give
	}
	d.screen.printf("\n%s", demoSummary(results))
	return errors.Join(err, d.verdict())
}

// verdict tells of the data, and is an error unless nothing went wrong.
func (d *demo) verdict() error {
	var ios, failed, wrong uint64
	for _, vm := range d.vms {
		ios += vm.ios.Load()
		failed += vm.errors.Load()
		wrong += vm.wrong.Load()
		if vm.lastErr != nil {
			d.screen.printf("%s: %v", vm.name, vm.lastErr)
		}
	}
	d.screen.printf("%d I/Os, %d errors, %d wrong blocks; the slowest I/O took %v, in phase %d",
		ios, failed, wrong, d.worst.took.Round(time.Millisecond), d.worst.phase)
	if failed > 0 || wrong > 0 || ios == 0 {
		return fmt.Errorf("demo: %d errors, %d wrong blocks in %d I/Os", failed, wrong, ios)
	}
	return nil
}

// wrongData is an error when a block came back other than it was written.
func (d *demo) wrongData() error {
	for _, vm := range d.vms {
		if n := vm.wrong.Load(); n > 0 {
			return fmt.Errorf("demo: %d wrong blocks of %s", n, vm.name)
		}
	}
	return nil
}
