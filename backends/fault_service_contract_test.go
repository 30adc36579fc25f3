// SPDX-License-Identifier: Apache-2.0

package backends_test

import (
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

// The contract of a device holds for the decorator.
func TestServiceFaultContract(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		m, err := backends.NewMemory(8 << 20)
		if err != nil {
			t.Fatal(err)
		}
		f := backends.NewServiceFault(m)
		f.Set(50_000, 100*time.Microsecond)
		return f, devicetest.Hooks{}
	})
}
