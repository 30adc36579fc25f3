// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"errors"

	"golang.org/x/sys/unix"
)

// waitExited waits until the process has ended and leaves it a zombie, so that
// its number stays its own until its owner knows.
func waitExited(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
