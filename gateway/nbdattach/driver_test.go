// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdattach

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoDriver: a kernel without the driver is told, with what to do. The driver's family
// is not in the network namespaces that processes make for themselves.
func TestNoDriver(t *testing.T) {
	err := inOwnNetwork(t, func() error {
		_, err := openKernel()
		return err
	})
	if !errors.Is(err, ErrNoDriver) || !strings.Contains(err.Error(), "modprobe nbd") || !strings.Contains(err.Error(), "CONFIG_BLK_DEV_NBD") {
		t.Error(err)
	}
}

// inOwnNetwork calls f on a thread with a network of its own.
func inOwnNetwork(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and not given back: it ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}
