// SPDX-License-Identifier: Apache-2.0

// Package exhaust has clients that try to use up what the gateway has: memory,
// processor, descriptors, log. Its tests hold a gateway in a process of its own to
// its bounds, and to what other clients get meanwhile.
package exhaust
