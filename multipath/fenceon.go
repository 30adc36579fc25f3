// SPDX-License-Identifier: Apache-2.0

//go:build !pathgate_unfenced

package multipath

// unfenced is true only in the program of the tests' negative controls.
const unfenced = false
