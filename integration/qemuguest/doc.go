// SPDX-License-Identifier: Apache-2.0

// Package qemuguest tests the gateway's iSCSI target with what its most common users
// have: a virtual machine whose disk is attached by QEMU's own iSCSI driver, by the
// options that `pathgate attach` prints. The guest is a Linux kernel with ext4, dd,
// sg_persist and the stamp checker (package stamp); around it paths are cut, the
// gateway is stopped and killed, disks grow and are mirrored, and QEMU's tools and
// libvirt use the same disks.
package qemuguest
