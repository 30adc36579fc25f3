// SPDX-License-Identifier: Apache-2.0

//go:build !race

package share

// differentialTraces is how many traces TestDifferential compares: 3 s.
const differentialTraces = 2000
