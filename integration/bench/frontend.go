// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// frontThrift is how many times as many I/Os as nbdkit the NBD server has to do in a
// second of CPU time.
const frontThrift = 1

// startMemory starts NBD servers on memory. Two of them are compared once more, in each
// dialect of the protocol that they know.
func startMemory(ctx context.Context, o *Options, dir string) ([]*group, error) {
	file, err := sharedFile()
	if err != nil {
		return nil, err
	}
	qemu := append([]string{"qemu-nbd", "-t", "-f", "raw", "--shared=16"}, quickest(file)...)
	g := &group{
		title: "Front-end alone, on memory",
		note: "qemu-nbd has a file in /dev/shm (`" + strings.Join(qemu[1:], " ") + "`, which is its quickest way there).\n" +
			"go-nbd knows simple replies only, and serves one request of a connection after the other; fio and qemu-img take structured\n" +
			"replies from the others.",
		reference: 3, jobs: nbdJobs(), thrift: frontThrift, thriftOfAll: true,
	}
	socket := func(name string) string { return filepath.Join(dir, name+".nbd") }
	size := strconv.Itoa(diskBytes)
	for _, s := range []struct {
		name, socket string
		command      []string
	}{
		{"pathgate NBD", socket("memory"), append(append([]string(nil), o.Memory...), socket("memory"), size)},
		{"qemu-nbd, file", socket("shm"), append(qemu, "-k", socket("shm"), "-x", "disk", file)},
		{"go-nbd", socket("gonbd"), append(append([]string(nil), o.GoNBD...), socket("gonbd"), size)},
		{"nbdkit memory", socket("nbdkit"), []string{"nbdkit", "-f", "-U", socket("nbdkit"), "memory", size}},
	} {
		c := (&contender{name: s.name}).nbd(s.socket, "disk")
		p, err := startProcess(ctx, dir, strings.NewReplacer(" ", "-", ",", "").Replace(s.name), accepts(s.socket), s.command[0], s.command[1:]...)
		if err == nil {
			c.pid, c.stop = p.pid, p.stop
			g.contenders = append(g.contenders, c)
			err = fill(ctx, c)
		}
		if err != nil {
			return nil, errors.Join(err, g.stop(), os.Remove(file))
		}
	}
	last := g.contenders[len(g.contenders)-1]
	stop := last.stop
	last.stop = func() error { return errors.Join(stop(), os.Remove(file)) }
	return []*group{g, g.ofDialects()}, nil
}

// ofDialects gives the first and the last contender of g for clients that do. They are
// stopped with g.
func (g *group) ofDialects() *group {
	d := &group{
		title:     "Dialects of NBD, on memory",
		note:      "A client within the bench reads in simple replies, structured replies, and with extended headers, which nbdkit does not know.",
		reference: 1, jobs: dialectJobs(), thrift: frontThrift, thriftOfAll: true,
	}
	for i, c := range []*contender{g.contenders[0], g.contenders[len(g.contenders)-1]} {
		d.contenders = append(d.contenders, &contender{name: c.name, socket: c.socket, export: c.export, dialects: 3 - i, pid: c.pid})
	}
	return d
}

// quickest gives what makes qemu-nbd quick on a file of memory. Direct I/O needs Linux 6.6
// there.
func quickest(file string) []string {
	f, err := os.OpenFile(file, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	_ = f.Close()
	return []string{"--cache=none", "--aio=native"}
}

// sharedFile makes a file of memory, as long as a disk.
func sharedFile() (string, error) {
	f, err := os.CreateTemp("/dev/shm", "bench-")
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Truncate(diskBytes), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}
