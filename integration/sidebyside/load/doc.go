// SPDX-License-Identifier: Apache-2.0

// Package load keeps requests in flight on block devices, and tells how long they
// stood still. It runs in a guest (integration/cmd/diskload), and is asked over TCP.
//
// A worker writes 4 KiB and reads them back, then waits a little, and goes on with the
// next 4 KiB of a range of its own; all with O_DIRECT, one request at a time. The
// pause keeps a slow machine from being what is measured.
package load
