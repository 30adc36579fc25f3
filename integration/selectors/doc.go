// SPDX-License-Identifier: Apache-2.0

// Package selectors has one test for each path selector: `pathgate serve` between NBD
// clients and a tgtd whose portals are behind a fault proxy each. Every path has an
// adapter, a portal and a proxy of its own, and what a test expects of a path is read
// from its proxy's counters, never from the gateway.
//
// One VM only reads and the other only writes, so that the bytes of a path tell whose
// they are. They are compared with the least that a VM can have sent; what the
// gateway itself asks its paths now and then is far below one request.
//
// The tests need the build tag integration.
package selectors
