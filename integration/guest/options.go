// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Options says what a guest is made of. Script is all that most need.
type Options struct {
	// Script is run by busybox sh; its exit status is the guest's.
	Script string

	Modules  []string          // kernel modules or exact aliases, with all they need
	Programs []string          // programs of the host, copied with their libraries
	Files    map[string]string // content by absolute path in the guest
	Trees    []string          // directories of the host that are copied to the guest's root

	// Drives are -drive arguments of QEMU; with if=virtio they are /dev/vda, ....
	Drives []string
	Args   []string // more QEMU arguments

	// Forwards lead from the host's loopback to ports of the guest; any makes a
	// network, and so does Network.
	Forwards []Forward
	Network  bool

	// Interactive keeps the guest after its script has ended, for Exec, until
	// Close. Without it the guest powers itself off.
	Interactive bool

	// Reboots is how many more boots the guest may make; a further one is a
	// failure. Zero: the first reboot or panic ends QEMU.
	Reboots int

	MemoryMB int           // 0 is 256
	Timeout  time.Duration // of the script, with the boot; 0 is two minutes
	Append   string        // kernel command line, added

	Output io.Writer // gets the script's output as it comes; nil for none
	Cache  string    // where the kernel is; see scripts/setup-tests
	QEMU   string    // default qemu-system-x86_64
}

// Forward leads a host address on loopback ("127.0.0.1:0" takes a free port) to
// a TCP port of the guest.
type Forward struct {
	Host      string
	GuestPort uint16
}

func (o *Options) setDefaults() {
	if o.MemoryMB == 0 {
		o.MemoryMB = 256
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.QEMU == "" {
		o.QEMU = "qemu-system-x86_64"
	}
	o.Network = o.Network || len(o.Forwards) > 0
}

// modules are those asked for and those of the devices.
func (o *Options) modules() []string {
	m := slices.Clone(o.Modules)
	if o.Network {
		m = append(m, "virtio_pci", "virtio_net")
	}
	if len(o.Drives) > 0 {
		m = append(m, "virtio_pci", "virtio_blk")
	}
	return m
}

// args is QEMU's command line. The kernel's console goes to a file in dir; the
// script's channel is QEMU's own standard input and output.
func (o *Options) args(k *kernel, dir string, hosts []netip.AddrPort) []string {
	// no_timer_check: on a busy machine the timer's ticks come too late for the kernel's
	// look at it, which ends in a panic.
	a := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
		"-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", strconv.Itoa(o.MemoryMB),
		"-kernel", k.image(), "-initrd", dir + "/initramfs",
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check " + o.Append,
		"-chardev", "file,id=console,path=" + dir + "/console", "-serial", "chardev:console",
		"-chardev", "stdio,id=script,signal=off", "-serial", "chardev:script",
	}
	if o.Reboots == 0 {
		a = append(a, "-no-reboot")
	}
	if o.Network {
		netdev := "user,id=net0"
		for i, f := range o.Forwards {
			netdev += fmt.Sprintf(",hostfwd=tcp:%s-:%d", hosts[i], f.GuestPort)
		}
		a = append(a, "-netdev", netdev, "-device", "virtio-net-pci,netdev=net0,romfile=")
	}
	for _, d := range o.Drives {
		a = append(a, "-drive", d)
	}
	return append(a, o.Args...)
}
