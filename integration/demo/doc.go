// SPDX-License-Identifier: Apache-2.0

// Package demo tests what "make demo" shows: the program alone, with nothing of
// the system but its loopback addresses. Run it with build tag integration.
package demo
