// SPDX-License-Identifier: Apache-2.0

// Package nbdtls tests the NBD server's TLS, and sockets that systemd passes, with
// libnbd, QEMU, OpenSSL and systemd-socket-activate.
package nbdtls
