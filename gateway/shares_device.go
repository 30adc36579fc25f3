// SPDX-License-Identifier: Apache-2.0

package gateway

// fileDevicePrefix begins the name of a local file as rules and Shares know it.
const fileDevicePrefix = "file:"

// FileDevice is the name under which a local file is a device of Shares, and which
// rules may have as their id.
func FileDevice(path string) string { return fileDevicePrefix + path }
