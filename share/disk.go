// SPDX-License-Identifier: Apache-2.0

package share

// cmdShell is what Disk keeps in a command.
type cmdShell struct{}
