// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pathgate/integration/internal/port"
	"pathgate/integration/nbdclient"
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
	lun    string   // iscsi:// URL for iscsi-perf; "": it is not measured with that
	// dialects of NBD that it is measured in: simple and structured replies, extended
	// headers.
	dialects int
	pid      func() int
	target   func() int // pid of the target behind it; nil: none
	stop     func() error
	// longest bounds a sample, in seconds; 0: nothing does. attempts is how often a
	// sample may be made again because it failed, again how often it was.
	longest         float64
	attempts, again int
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
	// deepBar is that of the first contender at depth 32; 0: none.
	deepBar float64
	// thrift is the least ratio of I/Os per second of CPU time that is asked for of the
	// first contender, at depth 32 or of every job; 0: they are not told.
	thrift      float64
	thriftOfAll bool
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

// throughBar and throughThrift are how many times as many I/Os as qemu-nbd the gateway
// has to do over two paths at depth 32: in a second, and in one of its CPU time.
const throughBar, throughThrift = 1.1, 1

// startTarget starts everything that is measured on a tgtd LUN. tgtd is the
// last of the group: it is stopped after those that use it.
func startTarget(ctx context.Context, o *Options, dir string) ([]*group, error) {
	target, err := startTgtd(ctx, "iqn.2026-11.test:bench", "PATHGATEBENCH1", 2)
	if err != nil {
		return nil, err
	}
	g := &group{title: "On a tgtd LUN in /dev/shm", reference: 2, jobs: Jobs(), deepBar: throughBar, thrift: throughThrift}
	fail := func(err error) ([]*group, error) { return nil, errors.Join(err, g.stop(), target.Close()) }
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
	file    string   // or the file that is the disk of its one VM
	vms     int      // with an equal part of the LUN each
	off     bool     // no scheduler
	iscsi   bool     // measured over iSCSI in place of NBD
}

// targets gives what the configuration says of targets and their LUNs.
func (s *gatewaySpec) targets() string {
	if s.file != "" {
		return ""
	}
	return fmt.Sprintf("adapters:\n  - {name: vmhba0, address: 127.0.0.1}\ntargets:\n  - portals: [%s]\n"+
		"luns:\n  - {id: \"*\", scheduler: {enabled: %v}}\n", strings.Join(s.portals, ", "), !s.off)
}

// disks gives what it says of VMs.
func (s *gatewaySpec) disks() string {
	if s.file != "" {
		return fmt.Sprintf("vms:\n  - {name: %s, disks: [{name: root, file: %s}]}\n", vmName(0), s.file)
	}
	var b strings.Builder
	b.WriteString("vms:\n")
	for i := range s.vms {
		size := diskBytes / s.vms
		fmt.Fprintf(&b, "  - {name: %s, disks: [{name: root, lun: \"vmhba0:0:1\", offset: %d, size: %d}]}\n", vmName(i), i*size, size)
	}
	return b.String()
}

// startPathgate runs the product as its users do. A port that was free may be taken
// by somebody else before it is ours.
func startPathgate(ctx context.Context, o *Options, dir string, s gatewaySpec) (c *contender, err error) {
	for range 3 {
		if c, err = tryPathgate(ctx, o, dir, s); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	return c, err
}

func tryPathgate(ctx context.Context, o *Options, dir string, s gatewaySpec) (*contender, error) {
	word := strings.ToLower(strings.NewReplacer(" ", "", ",", "-").Replace(s.name))
	base := filepath.Join(dir, word)
	c := &contender{name: s.name}
	config := fmt.Sprintf("state: %[1]s.state\ncontrol: unix:%[1]s.control\ninitiator: iqn.2026-11.test:%[2]s\nnbd:\n  listen: [\"unix:%[1]s.nbd\"]\n", base, word)
	switch {
	case s.iscsi:
		portal, err := port.Free(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			return nil, err
		}
		config += fmt.Sprintf("iscsi:\n  listen: [%v]\n", portal)
		c.socket, c.export = base+".nbd", vmName(0)+"/root"
		c.image = fmt.Sprintf("iscsi://%v/iqn.2026-11.internal.pathgate:%s/0", portal, vmName(0))
		c.lun = c.image
	case s.vms == 1:
		c.nbd(base+".nbd", vmName(0)+"/root")
	default:
		c.vms(base+".nbd", "root", s.vms)
	}
	if err := os.WriteFile(base+".yaml", []byte(config+s.targets()+s.disks()), 0o600); err != nil {
		return nil, err
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
