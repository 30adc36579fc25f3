// SPDX-License-Identifier: Apache-2.0

//go:build race

package share

// differentialTraces is less under the race detector, which is slow with
// fractions; there is one goroutine only.
const differentialTraces = 200
