// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"syscall"
	"unsafe"
)

// Sockets of package net never block in the kernel, so reads and writes need not
// tell the Go scheduler. Telling it is dear: whenever the process was idle, which
// at low depth is between any two messages, it wakes the runtime's monitor thread,
// and that costs more than the call. But the monitor is what preempts a goroutine
// that never waits, so such a one tells after all, and so does a call that copies
// much.
const (
	// quietBytes is the most that a call copies without telling, about 20 us.
	quietBytes = 128 << 10
	// quietCalls is how many calls a reader makes without waiting or telling.
	quietCalls = 16
)

// vectorCall does trap (readv or writev) on a socket's fd, again when a signal
// has interrupted it. iov is not empty.
func vectorCall(trap, fd uintptr, iov []syscall.Iovec, quiet bool) (int, syscall.Errno) {
	for {
		var n uintptr
		var errno syscall.Errno
		if quiet {
			n, _, errno = syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		} else {
			n, _, errno = syscall.Syscall(trap, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		}
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}
