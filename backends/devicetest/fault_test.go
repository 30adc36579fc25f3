// SPDX-License-Identifier: Apache-2.0

package devicetest_test

import (
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

func newMemory(t *testing.T) backends.Device {
	t.Helper()
	m, err := backends.NewMemory(3<<20 + 512)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFaults: a decorator keeps the contract, whatever it does, but for the
// results of ErrorFault.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		wrap func(backends.Device) (backends.Device, devicetest.Hooks)
	}{
		{"error, off", func(d backends.Device) (backends.Device, devicetest.Hooks) {
			return backends.NewErrorFault(d), devicetest.Hooks{}
		}},
		{"delay", func(d backends.Device) (backends.Device, devicetest.Hooks) {
			f := backends.NewDelayFault(d)
			f.Set(&backends.FaultRule{Probability: 0.1}, 0, time.Millisecond)
			return f, devicetest.Hooks{}
		}},
		{"hold", func(d backends.Device) (backends.Device, devicetest.Hooks) {
			f := backends.NewHoldFault(d)
			return f, devicetest.Hooks{Cut: func() { f.Hold(nil) }, Heal: f.Release}
		}},
		{"rate", func(d backends.Device) (backends.Device, devicetest.Hooks) {
			f := backends.NewRateFault(d)
			f.Set(20_000, 0)
			return f, devicetest.Hooks{}
		}},
		{"all together", func(d backends.Device) (backends.Device, devicetest.Hooks) {
			rate := backends.NewRateFault(d)
			delay := backends.NewDelayFault(rate)
			delay.Set(&backends.FaultRule{Every: 50}, time.Millisecond, 0)
			hold := backends.NewHoldFault(backends.NewErrorFault(delay))
			return hold, devicetest.Hooks{Cut: func() { hold.Hold(nil) }, Heal: hold.Release}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) { return tt.wrap(newMemory(t)) })
		})
	}
}
