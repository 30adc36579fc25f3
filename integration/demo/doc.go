// SPDX-License-Identifier: Apache-2.0

// Package demo tests what a newcomer does first: "make demo", with nothing of the
// system but its loopback addresses, and what README.md and docs/iscsi.md show to be
// typed then. Run it with build tag integration.
package demo
