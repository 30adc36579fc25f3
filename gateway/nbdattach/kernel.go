// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What this host cannot do.
var (
	// ErrNoDriver: there is no nbd driver, or it is not loaded.
	ErrNoDriver = errors.New("this kernel has no nbd driver")
	// ErrPermission: the process may not set up block devices.
	ErrPermission = errors.New("not permitted to set up block devices")
	// ErrInUse: the device has other connections, or somebody uses it.
	ErrInUse = errors.New("in use")
)

// noDriver tells what to do about it.
const noDriver = `load it with "modprobe nbd" (and at each boot: echo nbd >/etc/modules-load.d/nbd.conf); ` +
	`a kernel that was built without it (CONFIG_BLK_DEV_NBD), and a container with a network of its own, cannot have such devices: use iSCSI`

// driver is the kernel's side. Safe for concurrent use.
type driver interface {
	// connect makes a device of sockets, and gives its index.
	connect(*settings) (index int, err error)
	// reconfigure changes one. A socket that no dead connection waits for is left alone.
	reconfigure(*settings) error
	disconnect(index int) error
	// connected tells whether the device is set up, or not yet taken down.
	connected(index int) (bool, error)
	// links calls dead for each connection of any device that is lost, with the
	// device's index, or -1 when some may have been missed, until ctx ends.
	links(ctx context.Context, dead func(index int)) error
}

// kernel is the driver of this host.
type kernel struct {
	family uint16
	group  uint32
}

// openKernel finds the driver; ErrNoDriver.
func openKernel() (*kernel, error) {
	f, err := netlink.GenlFamilyGet(familyName)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return nil, fmt.Errorf("%w: %s", ErrNoDriver, noDriver)
	case err != nil:
		return nil, fmt.Errorf("find the nbd driver: %w", err)
	}
	k := &kernel{family: f.ID}
	for _, g := range f.Groups {
		if g.Name == groupName {
			k.group = g.ID
		}
	}
	return k, nil
}

// execute sends a request, and gives the first answer behind its netlink header; none
// is nil.
func (k *kernel) execute(cmd uint8, data ...nl.NetlinkRequestData) ([]byte, error) {
	msgs, err := request(k.family, cmd, data...).Execute(unix.NETLINK_GENERIC, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%w: the nbd driver wants CAP_SYS_ADMIN of the host: run this as root", ErrPermission)
	case errors.Is(err, unix.EBUSY):
		return nil, ErrInUse
	case err != nil || len(msgs) == 0:
		return nil, err
	}
	return msgs[0], nil
}

func (k *kernel) connect(s *settings) (int, error) {
	b, err := k.execute(cmdConnect, s.data()...)
	if err != nil {
		return 0, err
	}
	if b == nil && s.index >= 0 { // the kernel had no memory for the answer
		return s.index, nil
	}
	return decodeIndex(b, cmdConnect)
}

func (k *kernel) reconfigure(s *settings) error {
	_, err := k.execute(cmdReconfigure, s.data()...)
	return err
}

func (k *kernel) disconnect(index int) error {
	_, err := k.execute(cmdDisconnect, (&settings{index: index}).data()...)
	return err
}

func (k *kernel) connected(index int) (bool, error) {
	b, err := k.execute(cmdStatus, (&settings{index: index}).data()...)
	if err != nil || b == nil {
		return false, err
	}
	return decodeStatus(b)
}

// links implements driver. The group's number may be beyond those of nl.Subscribe.
func (k *kernel) links(ctx context.Context, dead func(index int)) error {
	s, err := nl.Subscribe(unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("listen to the nbd driver: %w", err)
	}
	defer context.AfterFunc(ctx, s.Close)()
	defer s.Close()
	if err := unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(k.group)); err != nil {
		return fmt.Errorf("listen to the nbd driver: %w", err)
	}
	dead(-1) // what was lost before
	for {
		msgs, from, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			dead(-1)
			continue
		case err != nil:
			return fmt.Errorf("listen to the nbd driver: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		for _, m := range msgs {
			if m.Header.Type != k.family {
				continue
			}
			if index, err := decodeIndex(m.Data, cmdLinkDead); err == nil {
				dead(index)
			}
		}
	}
}
