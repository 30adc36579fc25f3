// SPDX-License-Identifier: Apache-2.0

// Package guest runs a shell script in a virtual machine of its own: a Debian
// kernel and a busybox initramfs made on the fly, under QEMU without KVM. It
// boots in about two seconds and is how tests get a Linux kernel's initiators,
// file systems and targets.
//
//	r, err := guest.Run(ctx, guest.Options{
//		Script:  "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && df /mnt",
//		Modules: []string{"ext4"}, Programs: []string{"mkfs.ext4"},
//		Drives:  []string{"file=nbd:unix:/run/nbd.sock:exportname=vm1/root,if=virtio,format=raw"},
//	})
//	// r.Output, r.ExitCode
//
// scripts/guest does the same by hand. The kernel comes from scripts/setup-tests.
//
// # Inside
//
// The script runs with sh of busybox as root, all applets in PATH, /proc, /sys,
// /dev and /tmp mounted, the asked modules loaded, and with a network eth0
// (10.0.2.15, the host's loopback is 10.0.2.2), if asked. PATHGATE_BOOT is the
// number of the boot, from 1: with Options.Reboots a script that runs `reboot
// -f` is run again by the next boot, in the same QEMU.
//
// # Channels
//
// The kernel's console is the first serial port and goes to a file (Console).
// The second carries the script's output, byte for byte, and its standard input
// (Send), so that a test can meet the script half-way: WaitOutput until it says
// it is ready, do something to its disk, Send it a line. Lines that begin with
// "@@" and the guest's random word are the protocol: the number of the boot, the
// exit status, and commands given by Exec after the script has ended.
//
// # Faults and ends
//
// A kernel panic, a QEMU that ends early and Options.Timeout end Wait and Exec
// with an error that holds the tail of the console. Kill pulls the plug. A QEMU
// of a test that was itself killed dies with it.
package guest
