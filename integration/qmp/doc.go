// SPDX-License-Identifier: Apache-2.0

// Package qmp speaks QEMU's machine protocol to the virtual machines of tests: a
// guest started with "-qmp unix:PATH,server=on,wait=off" is asked and commanded, and
// its events are waited for. It shares no code with what the product says to QEMU.
//
//	m, err := qmp.Dial(path)
//	err = m.Do("set_link", map[string]any{"name": "card0", "up": false}, nil)
//	e, err := m.Wait(time.Minute, "BLOCK_JOB_COMPLETED")
package qmp
