// SPDX-License-Identifier: Apache-2.0

// Package devicetest is the contract of backends.Device as a test suite. Every
// implementation runs it:
//
//	func TestDevice(t *testing.T) {
//		devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
//			d, err := backends.NewMemory(64 << 20)
//			...
//			return d, devicetest.Hooks{}
//		})
//	}
//
// The function is called once for each case and gives a fresh device, which the
// suite closes. What is tested follows Info: capabilities, limits, block size.
// A device that waits while its paths are down gives Cut and Heal too. One that
// is a backends.LUN is observed, and its queue events are checked. RunIn runs
// each case inside something, such as a synctest bubble.
//
// Checked in every case, besides what the case is about: each request
// completes exactly once, and never inside Submit, Abort or Reset; the device
// changes nothing of a request but what it may; payload bytes stay what they
// are, and nobody holds them once the device is closed; results make sense; a
// read gives as many bytes as were asked for.
//
// The suite is of use under the race detector above all: it touches requests as
// soon as they have completed.
package devicetest
