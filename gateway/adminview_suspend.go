// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

var _ control.SuspendSource = adminSource{}

// managed gives the device of that canonical name.
func (s *adminView) managed(device string) (*multipath.Device, error) {
	if s.paths != nil {
		for _, d := range s.paths.Devices() {
			if d.Name() == device {
				return d, nil
			}
		}
	}
	return nil, fmt.Errorf("device %s: %w", device, control.ErrNotFound)
}

// SuspendDevice has a device send no more requests, and waits for what is in flight.
func (s *adminView) SuspendDevice(ctx context.Context, device string) error {
	d, err := s.managed(device)
	if err != nil {
		return err
	}
	if err = d.Suspend(ctx); errors.Is(err, multipath.ErrResumed) {
		return control.Conflict(multipath.ErrResumed)
	}
	return err
}

// ResumeDevice has it go on.
func (s *adminView) ResumeDevice(device string) error {
	d, err := s.managed(device)
	if err == nil {
		d.Resume()
	}
	return err
}

// SetQueueing changes what requests do without a path.
func (s *adminView) SetQueueing(device, queueing string) error {
	d, err := s.managed(device)
	if err != nil {
		return err
	}
	for _, q := range []multipath.Queueing{multipath.QueueOn, multipath.QueueOff, multipath.QueueDefault} {
		if q.String() == queueing {
			d.SetQueueing(q)
			return nil
		}
	}
	return fmt.Errorf("queueing %q is not known", queueing)
}

// showOrders shows what administrators have ordered for this run.
func showOrders(out *control.Device, i *multipath.DeviceInfo) {
	out.Suspended, out.SuspendedSince, out.Quiet = !i.SuspendedSince.IsZero(), i.SuspendedSince, i.Quiet
	if i.Queueing != multipath.QueueDefault {
		out.Queueing = i.Queueing.String()
	}
}
