// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"testing"
	"time"

	"pathgate/gateway/control"
)

// TestSlowVerbs: what waits for a target is not ended by the bounds of a connection.
func TestSlowVerbs(t *testing.T) {
	src := &operated{fake: newFake(), slow: 300 * time.Millisecond}
	addr, _ := serve(t, src, control.Options{ReadTimeout: 50 * time.Millisecond, WriteTimeout: 100 * time.Millisecond})
	c := dial(t, addr)
	if _, err := c.SwitchGroup(t.Context(), "gold", 2); err != nil {
		t.Errorf("a switch of groups: %v", err)
	}
	if _, err := c.SuspendDevice(t.Context(), "gold", 0); err != nil {
		t.Errorf("a suspension: %v", err)
	}
	if _, err := c.PreemptReservation(t.Context(), "vmhba0:0:1", control.ReservationPreempt{}); err != nil {
		t.Errorf("a preemption: %v", err)
	}
}
