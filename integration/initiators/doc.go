// SPDX-License-Identifier: Apache-2.0

// Package initiators tests the gateway's iSCSI target with initiators that others
// wrote: QEMU's driver and libiscsi's tools, against the gateway as a process, with
// disks in files and on a LUN over two paths of tgtd. What the target does with
// single commands and PDUs is tested in gateway/iscsi, gateway/scsi and
// integration/conformance.
package initiators
