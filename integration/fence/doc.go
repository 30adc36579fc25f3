// SPDX-License-Identifier: Apache-2.0

// Package fence proves on real targets that no write that was acknowledged is ever
// undone by an older one (HAZARDS section 4): writes are caught half-way in a proxy,
// in the socket of a stopped target, and in a slow worker of one, and let go after
// the failover. Its tests need tgtd and the build tag integration.
package fence
