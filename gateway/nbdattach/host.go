// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// major is the number of the driver's devices (include/uapi/linux/major.h).
const major = 43

// AnyDevice as Config.Index has the kernel choose.
const AnyDevice = -1

// Device errors.
var (
	ErrNotDevice   = errors.New("not an nbd device")
	ErrNotAttached = errors.New("not attached")
	// ErrNotConnected: no connection of the device lives.
	ErrNotConnected = errors.New("not connected to the server now")
)

// ParseDevice takes "/dev/nbd0", or a link to it, or "auto".
func ParseDevice(name string) (index int, err error) {
	if name == "auto" {
		return AnyDevice, nil
	}
	file := name
	if real, err := filepath.EvalSymlinks(name); err == nil {
		file = real
	}
	digits, ok := strings.CutPrefix(file, "/dev/nbd")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("%s is %w: want /dev/nbdN or auto", name, ErrNotDevice)
	}
	var st unix.Stat_t
	switch err := unix.Stat(file, &st); {
	case errors.Is(err, unix.ENOENT): // the driver makes what is not there
	case err != nil:
		return 0, fmt.Errorf("%s: %w", name, err)
	case st.Mode&unix.S_IFMT != unix.S_IFBLK:
		return 0, fmt.Errorf("%s is %w: it is not a block device", name, ErrNotDevice)
	case unix.Major(st.Rdev) != major:
		return 0, fmt.Errorf("%s is %w: its major number is %d", name, ErrNotDevice, unix.Major(st.Rdev))
	}
	return int(n), nil
}

// host is where devices of the driver are seen.
type host struct {
	sys, dev string // "/sys/block", "/dev"
}

var thisHost = host{sys: "/sys/block", dev: "/dev"}

func (h host) device(index int) string { return fmt.Sprintf("%s/nbd%d", h.dev, index) }

func (h host) file(index int, name string) string {
	return filepath.Join(h.sys, fmt.Sprintf("nbd%d", index), name)
}

// attribute gives a line of sysfs; "" when there is none.
func (h host) attribute(index int, name string) string {
	b, _ := os.ReadFile(h.file(index, name)) // gone is as good as empty
	return strings.TrimSpace(string(b))
}

func (h host) number(index int, name string) uint64 {
	n, _ := strconv.ParseUint(h.attribute(index, name), 10, 64) // none is 0
	return n
}

// running tells whether the device has connections, dead or alive.
func (h host) running(index int) bool {
	_, err := os.Stat(h.file(index, "pid"))
	return err == nil
}

// limitRequests keeps requests below what the server takes; what the driver begins with
// is below what most servers do.
func (h host) limitRequests(index int, maxPayload uint32) error {
	now := h.number(index, "queue/max_sectors_kb")
	if want := uint64(maxPayload >> 10); maxPayload != 0 && now > want {
		return os.WriteFile(h.file(index, "queue/max_sectors_kb"), strconv.AppendUint(nil, want, 10), 0)
	}
	return nil
}

// flush writes out what the host has in its cache for the device; ErrInUse when
// somebody uses it, such as a mounted file system.
func (h host) flush(index int) error {
	name := h.device(index)
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_EXCL, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is %w: unmount it, or end what has it open (lsblk %s shows it)", name, ErrInUse, name)
	case err != nil:
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// claim makes this process the one that looks after a device.
func (h host) claim(index int) (net.Listener, error) {
	l, err := net.Listen("unix", "@pathgate"+h.device(index))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%w: another \"pathgate attach\" looks after it", ErrInUse)
	}
	return l, err
}
