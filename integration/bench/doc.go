// SPDX-License-Identifier: Apache-2.0

// Package bench measures the gateway against what people use instead of it, in
// one run on one machine.
//
// Contenders on one tgtd LUN whose file is in /dev/shm: pathgate over two paths
// (one adapter, two portals), pathgate over one path, qemu-nbd exporting the
// same iscsi:// URL, and the target with no gateway between. Contenders on
// memory: the NBD server of pathgate on [backends.Memory], qemu-nbd on a file in
// /dev/shm, the server of go-nbd, and nbdkit memory. There are bars in the report, met or
// not: what pathgate must do as a multiple of nbdkit for each second of CPU time, and over
// two paths as a multiple of qemu-nbd, for each second and each second of CPU time. The
// first and the last of those on memory are compared in each dialect of NBD too (see
// [ServeMemory]).
//
// iSCSI targets are compared on one and the same file in /dev/shm: the gateway with a
// disk on that file, tgtd, and gotgt in a process of its own. What the gateway must
// do for each second of its CPU time, as a multiple of tgtd, is a bar in the report.
// Over two paths the gateway's iSCSI target is compared with the tgtd LUN behind it,
// the CPU time of gateway and target told apart.
//
// The price of the scheduler is measured on memory too: [ServeScheduled] has the
// NBD server, disks and routers of the gateway on memory devices that differ in
// their scheduler alone, on or off, for one VM that is alone, and for eight with a
// window so small that they wait for each other. What may be lost is a bar in the
// report, met or not. The time in disk, router and device alone is told too. Eight VMs over four paths, with the program itself, show
// what it costs on a LUN.
//
// # How figures are made
//
// Every round measures every job (see [Jobs]) with every client on every
// contender, the contenders of one job one after the other in an order that the
// seed shuffles, so that a slow minute of the machine hits all of them. A figure
// is the median over the rounds. A ratio is made within each round, and the
// median and range of those are shown: they are less noisy than the figures. A
// round makes several samples for the scheduler, since what they are to tell apart
// is small.
//
// CPU time is utime+stime of the measured server (proc(5), /proc/PID/stat) over
// the client's run, divided by the client's I/Os. It is what a busy host pays,
// and on a machine with few cores it is steadier than the rates.
//
// # Clients
//
// fio's nbd engine does random I/O for a fixed time. qemu-img bench is the
// second opinion: it does a fixed count, found by a probe, and strides through
// the disk instead of choosing at random. Debian's fio has no iSCSI engine, so
// iSCSI targets are measured by qemu-img bench, and by libiscsi's iscsi-perf, which
// only reads and runs for whole seconds. Its random reads begin at any block of 512
// bytes. fio alone makes several connections.
//
// fio and qemu-img take structured replies from every NBD server that has them. What
// the dialect makes of it is told by a client within this program, which reads in
// simple replies, structured replies, or with extended headers.
//
// gotgt hangs a session at the first ping, which initiators send after 5 s: samples of
// it are at most 4 s long. One that fails is made again, at most twice, and the report
// tells how often.
//
// Run returns an error as soon as one figure cannot be measured.
package bench
