// SPDX-License-Identifier: Apache-2.0

// Package nbdtools uses a gateway's disks, on a thin LUN over two paths and in a file,
// with the NBD clients that people use: fio with many connections while paths are cut,
// libnbd's and QEMU's tools, and several connections that rely on each other's flushes.
package nbdtools
