// SPDX-License-Identifier: Apache-2.0

// Package resize has disks grow under clients that were not written for pathgate. Its
// tests have the build tag "integration"; they need what scripts/setup-tests installs.
package resize
