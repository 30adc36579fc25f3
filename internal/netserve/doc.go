// SPDX-License-Identifier: Apache-2.0

// Package netserve holds what every server of sockets needs against its clients:
// an accept loop that outlives a lack of descriptors, a bound on how long a peer
// may take no data, and a log that clients cannot fill.
package netserve
