// SPDX-License-Identifier: Apache-2.0

// Package claim shows claim rules end to end: the program against tgtd, and against a
// scripted target that counts what a masked LUN gets. Its tests need tgtd and the build
// tag integration.
package claim
