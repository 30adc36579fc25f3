// SPDX-License-Identifier: Apache-2.0

// Package nbdclients has the gateway's NBD server used by libnbd, from Python (nbdsh): a
// script of testdata for each command, flag and option, and for what libnbd's own
// errors-server tests send. What libnbd does not send goes as raw bytes.
package nbdclients
