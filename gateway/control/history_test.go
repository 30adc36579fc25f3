// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// remembering is a fake whose paths have changed ten times each, in turn.
type remembering struct{ *operated }

func (remembering) PathHistory(name string) (list []control.PathChange) {
	var path int
	if _, err := fmt.Sscanf(name, "vmhba%d:", &path); err != nil {
		panic(err)
	}
	for i := range 10 {
		at := time.Date(2026, 11, 1, 12, 0, 3*i+path, 0, time.UTC)
		list = append(list, control.PathChange{Time: at, Health: "down", Reason: name})
	}
	return list
}

// A device is shown with the last changes of its own paths, in order of time.
func TestDeviceHistory(t *testing.T) {
	addr, _ := serve(t, remembering{&operated{fake: newFake()}}, control.Options{})
	c := dial(t, addr)
	d, err := c.Device(t.Context(), "gold")
	if err != nil || len(d.History) != control.DeviceHistory {
		t.Fatalf("%d changes, %v", len(d.History), err)
	}
	for i, h := range d.History {
		n := 30 - control.DeviceHistory + i // of all, by time
		if want := fmt.Sprintf("vmhba%d:0:1", n%3); h.Time.Second() != n || h.Path != want || h.Reason != want {
			t.Errorf("change %d is %+v, want second %d and %s", i, h, n, want)
		}
	}
	if d, err = c.Device(t.Context(), "vmhba0:0:2"); err != nil || len(d.History) != 0 {
		t.Errorf("a device without paths: %+v, %v", d.History, err)
	}
	list, err := c.Devices(t.Context())
	if err != nil || len(list[0].History) != 0 {
		t.Errorf("a list: %+v, %v", list, err)
	}
}
