// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pathgate/gateway/control"
)

// A change of a selector reaches the device by any of its names, and answers with the
// device as it is then; refusals are told for what they are.
func TestSelector(t *testing.T) {
	f := newFake()
	f.devices = []control.Device{{Name: "vmhba0:0:1", Identity: "naa.1", Aliases: []string{"gold"}, Selector: "service-time"}}
	addr, _ := serve(t, f, control.Options{})
	c := dial(t, addr)
	name := "mru"
	d, err := c.SetSelector(t.Context(), "gold", control.SelectorChange{Name: &name})
	if err != nil || d.Name != "vmhba0:0:1" || d.Selector != "mru" || !d.SelectorSet {
		t.Errorf("set: %+v, %v", d, err)
	}
	if d, err = c.ResetSelector(t.Context(), "naa.1"); err != nil || d.SelectorSet || d.Selector != "service-time" {
		t.Errorf("reset: %+v, %v", d, err)
	}
	if want := []string{"selector vmhba0:0:1", "reset vmhba0:0:1"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q, want %q", f.calls, want)
	}
	for _, tt := range []struct {
		refuse error
		code   control.Code
		want   string
	}{
		{control.Invalid(errors.New("iops: is out of range")), control.CodeBadRequest, "device vmhba0:0:1: iops: is out of range"},
		{control.ErrNotFound, control.CodeNotFound, "device vmhba0:0:1: it has just gone"},
		{fmt.Errorf("disk full"), control.CodeInternal, "device vmhba0:0:1: disk full"},
	} {
		f.refuse = tt.refuse
		_, err := c.SetSelector(t.Context(), "gold", control.SelectorChange{Name: &name})
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != tt.code || e.Message != tt.want {
			t.Errorf("%v: got %v", tt.refuse, err)
		}
	}
	f.refuse = nil
	if _, err := c.SetSelector(t.Context(), "gold", control.SelectorChange{}); err == nil {
		t.Error("a change of nothing was taken")
	}
	if _, err := c.SetSelector(t.Context(), "goldd", control.SelectorChange{Name: &name}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("no such device: %v", err)
	}
}
