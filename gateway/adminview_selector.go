// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

// showSelection gives the options of a selection.
func showSelection(s multipath.Selection) control.SelectorOptions {
	o := control.SelectorOptions{
		UseNonOptimized: s.UseNonOptimized, IOPS: int64(s.IOPS), Bytes: int64(s.Bytes),
		ResampleMs: s.Resample.Milliseconds(), Preferred: s.Preferred, SettleMs: s.Settle.Milliseconds(),
		Below: int64(s.Below), Paths: int64(s.Paths),
	}
	for _, w := range s.Weights {
		o.Weights = append(o.Weights, control.PathWeight(w))
	}
	return o
}

// SetSelector changes how a device's paths are selected. It returns when that is kept
// and in force.
func (s *adminView) SetSelector(device string, c control.SelectorChange) error {
	d := s.device(device)
	if d == nil {
		return control.ErrNotFound
	}
	sel, _ := d.Selection()
	if c.Name != nil && *c.Name != sel.Name {
		sel.Name = *c.Name
		sel = sel.Normal() // options of the other one go
	}
	if err := changeSelection(&sel, c); err != nil {
		return control.Invalid(err)
	}
	err := d.SetSelector(&sel)
	if errors.Is(err, multipath.ErrSelection) {
		return control.Invalid(sel.Validate())
	}
	return err
}

// changeSelection sets what c sets. What no field could hold is refused here, other
// ranges are the path manager's to check.
func changeSelection(s *multipath.Selection, c control.SelectorChange) error {
	var faults []error
	whole := func(key string, n *int64, most int64, into func(int64)) {
		switch {
		case n == nil:
		case *n < 0 || *n > most:
			faults = append(faults, fmt.Errorf("%s: %d is out of range", key, *n))
		default:
			into(*n)
		}
	}
	const days = int64(24 * time.Hour / time.Millisecond)
	whole("iops", c.IOPS, math.MaxInt32, func(n int64) { s.IOPS = uint64(n) })
	whole("bytes", c.Bytes, math.MaxInt64, func(n int64) { s.Bytes = uint64(n) })
	whole("resample", c.ResampleMs, days, func(n int64) { s.Resample = time.Duration(n) * time.Millisecond })
	whole("settle", c.SettleMs, days, func(n int64) { s.Settle = time.Duration(n) * time.Millisecond })
	whole("below", c.Below, math.MaxUint8, func(n int64) { s.Below = uint8(n) })
	whole("paths", c.Paths, math.MaxInt32, func(n int64) { s.Paths = int(n) })
	assign(&s.Preferred, c.Preferred)
	assign(&s.UseNonOptimized, c.UseNonOptimized)
	if c.Weights != nil {
		s.Weights = nil
		for _, w := range *c.Weights {
			s.Weights = append(s.Weights, multipath.PathWeight(w))
		}
	}
	return errors.Join(faults...)
}

// ResetSelector goes back to the configuration.
func (s *adminView) ResetSelector(device string) error {
	if d := s.device(device); d != nil {
		return d.SetSelector(nil)
	}
	return control.ErrNotFound
}

// device finds a device by its canonical name.
func (s *adminView) device(name string) *multipath.Device {
	if s.paths == nil {
		return nil
	}
	list := s.paths.Devices()
	if i := slices.IndexFunc(list, func(d *multipath.Device) bool { return d.Name() == name }); i >= 0 {
		return list[i]
	}
	return nil
}
