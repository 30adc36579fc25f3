// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"

	"pathgate/gateway/control"
)

// SetSelector makes the fake's device look as if it had been set.
func (s *fakeState) SetSelector(device string, c control.SelectorChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.devices, func(d control.Device) bool { return d.Name == device })
	if i < 0 {
		return control.ErrNotFound
	}
	d := &s.devices[i]
	if c.Name != nil {
		if *c.Name == "best" {
			return control.Invalid(errors.New(`selector: "best" is not known`))
		}
		d.Selector, d.SelectorOptions = *c.Name, control.SelectorOptions{}
	}
	o := &d.SelectorOptions
	for _, n := range []struct{ from, into *int64 }{
		{c.IOPS, &o.IOPS}, {c.Bytes, &o.Bytes}, {c.ResampleMs, &o.ResampleMs}, {c.SettleMs, &o.SettleMs}, {c.Below, &o.Below}, {c.Paths, &o.Paths},
	} {
		if n.from != nil {
			*n.into = *n.from
		}
	}
	if c.Weights != nil {
		o.Weights = *c.Weights
	}
	if c.Preferred != nil {
		o.Preferred = *c.Preferred
	}
	if c.UseNonOptimized != nil {
		o.UseNonOptimized = *c.UseNonOptimized
	}
	d.SelectorSet = true
	return nil
}

// ResetSelector goes back to what normal has.
func (s *fakeState) ResetSelector(device string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.devices {
		if d := &s.devices[i]; d.Name == device {
			d.Selector, d.SelectorOptions, d.SelectorSet = "service-time", control.SelectorOptions{}, false
		}
	}
	return nil
}
