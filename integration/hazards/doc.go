// SPDX-License-Identifier: Apache-2.0

// Package hazards holds docs/hazards.md, the table of which test shows which row of
// the catalogue of hazards, against the tests that there are.
package hazards
