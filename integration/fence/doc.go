// SPDX-License-Identifier: Apache-2.0

// Package fence proves on real targets that no write that was acknowledged is ever
// undone by an older one (HAZARDS section 4): writes are caught half-way in a proxy, in
// the socket of a stopped target, in a slow worker of tgtd and in the device of LIO, and
// let go after the failover. Its tests need tgtd, a guest, and the build tag integration.
package fence
