// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"pathgate/gateway/control"
)

// change changes a device.
func (s *fakeState) change(device string, do func(*control.Device)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.devices {
		if d := &s.devices[i]; d.Name == device {
			do(d)
			return nil
		}
	}
	return control.ErrNotFound
}

// SuspendDevice implements control.SuspendSource: what has ghosts does not become quiet.
func (s *fakeState) SuspendDevice(ctx context.Context, device string) error {
	ghosts := 0
	err := s.change(device, func(d *control.Device) {
		if ghosts = len(d.Ghosts); ghosts == 0 {
			d.Suspended, d.Quiet, d.SuspendedSince = true, true, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		}
	})
	if ghosts > 0 {
		<-ctx.Done()
		return fmt.Errorf("device %s: 0 requests are still in flight and %d old writes may still run; it goes on", device, ghosts)
	}
	return err
}

// ResumeDevice implements control.SuspendSource.
func (s *fakeState) ResumeDevice(device string) error {
	return s.change(device, func(d *control.Device) { d.Suspended, d.Quiet, d.SuspendedSince = false, false, time.Time{} })
}

// SetQueueing implements control.SuspendSource.
func (s *fakeState) SetQueueing(device, queueing string) error {
	return s.change(device, func(d *control.Device) {
		if d.Queueing = queueing; queueing == "default" {
			d.Queueing = ""
		}
	})
}
