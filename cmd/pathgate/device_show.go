// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceShowCmd makes "pathgate device show".
func newDeviceShowCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show one device",
		Long: `Show one device: its state and paths with the VMs that use them, how its paths are
selected and whether that was configured or set, what fences old writes, and the last
changes of its paths.`,
		Args:              oneArg("NAME"),
		ValidArgsFunction: completeDevices(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := c.Device(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if out.isJSON() {
			return printJSON(cmd.OutOrStdout(), d, "  ")
		}
		paths, err := c.Paths(cmd.Context())
		if err != nil {
			return err
		}
		return printDevice(cmd.OutOrStdout(), d, paths)
	}
	return cmd
}

// printDevice prints d, with its paths of all.
func printDevice(w io.Writer, d control.Device, all []control.Path) error {
	var s sheet
	s.title("device %s: %s%s", d.Name, deviceState(d), after(", ", d.Reason))
	if len(d.Aliases) > 0 {
		s.line("aliases", "%s", strings.Join(d.Aliases, ", "))
	}
	s.line("identity", "%s", identity(d))
	s.line("is", "%s %s, %s in blocks of %d", d.Vendor, d.Product, humanBytes(d.Size), d.BlockSize)
	s.line("selector", "%s", selectorText(d))
	for _, o := range optionTexts(d.SelectorOptions) {
		s.line("", "%s", o)
	}
	s.line("paths", "%d, of which %d are usable and %d in use", d.PathsTotal, d.PathsUp, d.PathsUsed)
	for _, p := range all {
		if p.Device == d.Name {
			s.line("", "%s %s, %s%s", p.Name, p.Health, map[bool]string{true: "in use", false: "not in use"}[p.Used], after(", by ", p.VMs...))
		}
	}
	s.line("capacity", "%d of %d%s", d.CapacityNow, d.CapacityNominal, after(" ", d.CapacityUnit))
	s.line("cache", "%s", d.Cache)
	s.line("no path", "%s", withoutPath(d))
	s.line("fencing", "%s%s", cmp.Or(d.Fencing, "unknown"), map[bool]string{true: ", shared with other hosts", false: ""}[d.Shared])
	if d.Reservation != "" {
		s.line("reservation", "%s", d.Reservation)
	}
	if d.Suspended {
		s.line("suspended", "since %s, %s", d.SuspendedSince.Format(time.DateTime), map[bool]string{true: "nothing is in flight", false: "something is in flight"}[d.Quiet])
	}
	s.line("requests", "%d, of which %d wait%s", d.Inflight, d.Queued, heldText(d.Held))
	s.line("ghosts", "%d", len(d.Ghosts))
	for _, g := range d.Ghosts {
		s.line("", "%s: %d bytes at %d since %s%s", g.Path, g.Length, g.Offset, g.Since.Format(time.DateTime), after(": ", g.Why))
	}
	for _, c := range d.Fences {
		s.line("fences", "%s: %d done, %d failed", c.Method, c.Done, c.Failed)
	}
	if len(d.UsedBy) > 0 {
		s.line("used by", "%s", strings.Join(d.UsedBy, ", "))
	}
	if err := s.print(w); err != nil {
		return err
	}
	return printChanges(w, d.History, column[control.DeviceChange]{name: "PATH", value: func(c control.DeviceChange) string { return c.Path }})
}

func heldText(held map[string]int) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(held)) {
		list = append(list, fmt.Sprintf("%s %d", k, held[k]))
	}
	return after(": ", list...)
}

// after joins what there is behind a lead; "" if that is nothing.
func after(lead string, list ...string) string {
	if text := strings.Join(list, ", "); text != "" {
		return lead + text
	}
	return ""
}

// selectorText names a device's selector and where that comes from.
func selectorText(d control.Device) string {
	if d.SelectorSet {
		return d.Selector + ", set at run time"
	}
	return d.Selector + ", configured"
}

// optionTexts are the options that are not as by default, in the words of the
// configuration.
func optionTexts(o control.SelectorOptions) (list []string) {
	add := func(set bool, format string, args ...any) {
		if set {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	span := func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
	add(o.IOPS != 0, "iops %d", o.IOPS)
	add(o.Bytes != 0, "bytes %s", humanBytes(uint64(o.Bytes)))
	add(o.ResampleMs != 0, "resample %v", span(o.ResampleMs))
	add(o.Preferred != "", "preferred %s", o.Preferred)
	add(o.SettleMs != 0, "settle %v", span(o.SettleMs))
	add(o.Below != 0, "below %d", o.Below)
	add(o.Paths != 0, "paths %d", o.Paths)
	for _, w := range o.Weights {
		add(true, "weight %s %d", w.Path, w.Weight)
	}
	add(o.UseNonOptimized, "use-non-optimized")
	return list
}

// completeDevices offers the names of the devices to a shell.
func completeDevices(to *target) cobra.CompletionFunc {
	return completeNames(to, func(ctx context.Context, c *control.Client) ([]string, error) {
		devices, err := c.Devices(ctx)
		var names []string
		for _, d := range devices {
			names = append(append(names, d.Name), d.Aliases...)
		}
		return names, err
	})
}

// parseWeights reads "vmhba0:*=2,vmhba1:0:1=3"; none is no weight.
func parseWeights(s string) ([]control.PathWeight, error) {
	list := []control.PathWeight{}
	if s == "none" {
		return list, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		path, n, ok := strings.Cut(part, "=")
		w, err := strconv.ParseUint(n, 10, 32)
		if !ok || err != nil {
			return nil, fmt.Errorf("%q is not PATH=WEIGHT, such as vmhba0:*=2", part)
		}
		list = append(list, control.PathWeight{Path: path, Weight: uint32(w)})
	}
	return list, nil
}
