// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pathgate/integration/nbdclient"
	"pathgate/integration/tgtd"
)

// diskBytes is the size of every disk measured.
const diskBytes = 256 << 20

// contender is one server under measurement.
type contender struct {
	name   string
	export string   // NBD export name
	socket string   // its NBD socket; "" for the target alone
	uris   []string // for fio, one for each VM; empty: fio cannot reach it
	bytes  int      // of each of them
	image  string   // for qemu-img; "": it is not measured with that
	pid    func() int
	target func() int // pid of the target behind it; nil: none
	stop   func() error
}

// nbd fills the addresses of an NBD server.
func (c *contender) nbd(socket, export string) *contender {
	c.socket, c.export = socket, export
	c.uris, c.bytes = []string{uri(socket, export)}, diskBytes
	c.image = "nbd:unix:" + socket + ":exportname=" + export
	return c
}

func uri(socket, export string) string { return "nbd+unix:///" + export + "?socket=" + socket }

// vms fills the addresses of an NBD server that has a disk called name for each
// of n VMs, together of diskBytes.
func (c *contender) vms(socket, name string, n int) *contender {
	c.socket, c.export = socket, vmName(0)+"/"+name
	c.bytes = diskBytes / n
	for i := range n {
		c.uris = append(c.uris, uri(socket, vmName(i)+"/"+name))
	}
	return c
}

// group is a set of contenders that are compared on the same jobs.
type group struct {
	title      string
	note       string // a sentence under the title; may be empty
	contenders []*contender
	reference  int // what the others are divided by
	jobs       []Job
	repeats    int     // samples of each round; 0: one
	bar        float64 // the least ratio of rates that is asked for; 0: none
	// waits gives what has waited in the first contender's scheduler; nil: not told.
	// waitsBefore is that before the first sample, waited since then.
	waits               func(context.Context) (Waits, error)
	waitsBefore, waited Waits
}

func (g *group) stop() error {
	var errs []error
	for _, c := range g.contenders {
		if c.stop != nil {
			errs = append(errs, c.stop())
		}
	}
	return errors.Join(errs...)
}

// startTarget starts everything that is measured on a tgtd LUN. tgtd is the
// last of the group: it is stopped after those that use it.
func startTarget(ctx context.Context, o *Options, dir string) ([]*group, error) {
	target, err := tgtd.Start(ctx, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:bench", LUNs: []tgtd.LUN{{
			SizeBytes: diskBytes, SCSIID: "PATHGATEBENCH1", SCSISN: "BENCH1",
		}}}},
	})
	if err != nil {
		return nil, err
	}
	g := &group{title: "On a tgtd LUN in /dev/shm", reference: 2, jobs: Jobs()}
	fail := func(err error) ([]*group, error) { return nil, errors.Join(err, g.stop(), target.Close()) }
	if err := fillFile(target.File(0, 1)); err != nil {
		return fail(err)
	}
	for _, n := range []int{2, 1} {
		name := "pathgate, " + strconv.Itoa(n) + " path"
		if n > 1 {
			name += "s"
		}
		c, err := startPathgate(ctx, o, dir, gatewaySpec{name: name, portals: target.Portals()[:n], vms: 1})
		if err != nil {
			return fail(err)
		}
		c.target = target.Pid
		g.contenders = append(g.contenders, c)
	}
	c, err := startQemuNBD(ctx, dir, target.URL(0, 1))
	if err != nil {
		return fail(err)
	}
	c.target = target.Pid
	g.contenders = append(g.contenders, c, &contender{
		name: "target alone", image: target.URL(0, 1), pid: target.Pid, stop: target.Close,
	})
	return []*group{g}, nil
}

func fillFile(name string) error {
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for at := int64(0); at < diskBytes; at += int64(len(block)) {
		if _, err := f.WriteAt(block, at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// gatewaySpec is a pathgate to be measured.
type gatewaySpec struct {
	name    string
	portals []string // of the target, one path over each
	vms     int      // with an equal part of the LUN each
	off     bool     // no scheduler
}

// startPathgate runs the product as its users do.
func startPathgate(ctx context.Context, o *Options, dir string, s gatewaySpec) (*contender, error) {
	word := strings.NewReplacer(" ", "", ",", "-").Replace(s.name)
	base := filepath.Join(dir, word)
	var b strings.Builder
	fmt.Fprintf(&b, `state: %[1]s.state
control: unix:%[1]s.control
initiator: iqn.2026-11.test:%[2]s
adapters:
  - {name: vmhba0, address: 127.0.0.1}
targets:
  - portals: [%[3]s]
luns:
  - {id: "*", scheduler: {enabled: %[4]v}}
nbd:
  listen: ["unix:%[1]s.nbd"]
vms:
`, base, word, strings.Join(s.portals, ", "), !s.off)
	for i := range s.vms {
		size := diskBytes / s.vms
		fmt.Fprintf(&b, "  - {name: %s, disks: [{name: root, lun: \"vmhba0:0:1\", offset: %d, size: %d}]}\n", vmName(i), i*size, size)
	}
	if err := os.WriteFile(base+".yaml", []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	c := &contender{name: s.name}
	if s.vms == 1 {
		c.nbd(base+".nbd", "vm1/root")
	} else {
		c.vms(base+".nbd", "root", s.vms)
	}
	// An open waits until the LUN has appeared.
	p, err := startProcess(ctx, dir, filepath.Base(base), c.opens, o.Pathgate, "serve", "-c", base+".yaml")
	if err != nil {
		return nil, err
	}
	c.pid, c.stop = p.pid, p.stop
	return c, nil
}

// opens tells when the export can be used.
func (c *contender) opens(ctx context.Context) error {
	conn, err := nbdclient.Connect(ctx, nbdclient.Config{Addr: "unix:" + c.socket, Export: c.export})
	if err != nil {
		return err
	}
	return conn.Close()
}

func startQemuNBD(ctx context.Context, dir, url string) (*contender, error) {
	c := (&contender{name: "qemu-nbd"}).nbd(filepath.Join(dir, "qemu.nbd"), "disk")
	p, err := startProcess(ctx, dir, "qemu-nbd", accepts(c.socket), "qemu-nbd",
		"-t", "-f", "raw", "--cache=none", "--shared=16", "-k", c.socket, "-x", c.export, url)
	if err != nil {
		return nil, err
	}
	c.pid, c.stop = p.pid, p.stop
	return c, nil
}

// startMemory starts the two NBD servers on memory.
func startMemory(ctx context.Context, o *Options, dir string) ([]*group, error) {
	g := &group{title: "Front-end alone, on memory", reference: 1, jobs: Jobs()}
	ours := (&contender{name: "pathgate NBD"}).nbd(filepath.Join(dir, "memory.nbd"), "disk")
	theirs := (&contender{name: "nbdkit memory"}).nbd(filepath.Join(dir, "nbdkit.nbd"), "disk")
	commands := [][]string{
		append(append([]string(nil), o.Memory...), ours.socket, strconv.Itoa(diskBytes)),
		{"nbdkit", "-f", "-U", theirs.socket, "memory", strconv.Itoa(diskBytes)},
	}
	for i, c := range []*contender{ours, theirs} {
		p, err := startProcess(ctx, dir, strings.ReplaceAll(c.name, " ", "-"), accepts(c.socket), commands[i][0], commands[i][1:]...)
		if err != nil {
			return nil, errors.Join(err, g.stop())
		}
		c.pid, c.stop = p.pid, p.stop
		g.contenders = append(g.contenders, c)
		if err := fill(ctx, c); err != nil {
			return nil, errors.Join(err, g.stop())
		}
	}
	return []*group{g}, nil
}
