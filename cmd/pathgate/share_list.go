// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newShareListCmd makes "pathgate share list".
func newShareListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List what every VM gets of every LUN, and why it waits",
		Long: `A row is one VM on one LUN. SHARES, RESERVATION, LIMIT and PRIORITY are those in
force. ENTITLED% and USED% are of what the LUN can do now. WAITED% is of the time
since the disk was there, and WHY is why something waits now. A LIMIT "per-disk" is
told by "pathgate share show", for each disk.`,
		Args: noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		shares, err := c.Shares(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, shares, shareColumns())
	}
	return cmd
}

func shareColumns() []column[control.Share] {
	type S = control.Share
	inForce := func(value func(*control.EffectiveShare) string) func(S) string {
		return func(s S) string {
			if s.Effective == nil {
				return ""
			}
			return value(s.Effective)
		}
	}
	return []column[S]{
		{name: "DISK", value: func(s S) string { return strings.Join(s.Disks, ",") }},
		{name: "LUN", value: func(s S) string { return s.LUN }},
		{name: "SHARES", value: inForce(func(e *control.EffectiveShare) string { return strconv.FormatUint(uint64(e.Shares), 10) }), right: true},
		{name: "WEIGHT", value: inForce(func(e *control.EffectiveShare) string { return strconv.FormatUint(uint64(e.Weight), 10) }), right: true, wide: true},
		{name: "ENTITLED%", value: func(s S) string { return percent(s.EntitledPercent) }, right: true},
		{name: "USED%", value: func(s S) string { return percent(s.UsedPercent) }, right: true},
		{name: "DEMAND%", value: demand, right: true, wide: true},
		{name: "RESERVATION", value: inForce(func(e *control.EffectiveShare) string { return reservation(e.ShareSettings) }), right: true},
		{name: "LIMIT", value: limit, right: true},
		{name: "PRIORITY", value: inForce(func(e *control.EffectiveShare) string { return strconv.Itoa(int(e.Priority)) }), right: true},
		{name: "GROUP", value: inForce(func(e *control.EffectiveShare) string { return e.Group }), wide: true},
		{name: "LEAD", value: func(s S) string { return strconv.FormatInt(s.LeadCU, 10) }, right: true, wide: true},
		{name: "QUEUED", value: func(s S) string { return strconv.Itoa(s.Queued) }, right: true, wide: true},
		{name: "AGE", value: func(s S) string { return humanMicros(s.HeadAgeUs) }, right: true, wide: true},
		{name: "INFLIGHT", value: func(s S) string { return strconv.Itoa(s.Inflight) }, right: true, wide: true},
		{name: "COMMANDS", value: func(s S) string { return strconv.FormatUint(s.Commands, 10) }, right: true, wide: true},
		{name: "CU", value: func(s S) string { return strconv.FormatInt(s.CU, 10) }, right: true, wide: true},
		{name: "BYTES", value: func(s S) string { return humanBytes(s.Bytes) }, right: true, wide: true},
		{name: "GAP", value: func(s S) string { return humanMicros(s.LongestGapUs) }, right: true, wide: true},
		{name: "SETTINGS", value: inForce(func(e *control.EffectiveShare) string { return strconv.FormatUint(uint64(e.Version), 10) }), right: true, wide: true},
		{name: "WAITED%", value: waited, right: true},
		{name: "WHY", value: why},
	}
}

func percent(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) }

func demand(s control.Share) string {
	if s.DemandUnbounded {
		return "all"
	}
	return percent(s.DemandPercent)
}

// reservation and limits give rates without spaces, "500/s+100MB/s"; "" for none.
func reservation(s control.ShareSettings) string { return rates(s.ReserveIOPS, s.ReserveBandwidth) }

func limits(s control.ShareSettings) string {
	var parts []string
	for _, l := range []struct {
		name string
		of   control.ShareLimit
	}{{"", s.Limit}, {"r:", s.LimitRead}, {"w:", s.LimitWrite}} {
		if r := rates(l.of.IOPS, l.of.Bandwidth); r != "" {
			parts = append(parts, l.name+r)
		}
	}
	return strings.Join(parts, ",")
}

// limit is that of the flow, or tells that its disks have theirs.
func limit(s control.Share) string {
	switch {
	case s.Effective == nil:
		return ""
	case len(s.LimitedDisks) > 0:
		return "per-disk"
	}
	return limits(s.Effective.ShareSettings)
}

func rates(iops, bandwidth int64) string {
	var parts []string
	if iops > 0 {
		parts = append(parts, strconv.FormatInt(iops, 10)+"/s")
	}
	if bandwidth > 0 {
		parts = append(parts, humanRate(bandwidth))
	}
	return strings.Join(parts, "+")
}

// humanRate gives bytes per second in the unit, of 1000 or 1024, that gives the
// shortest exact number: "100MB/s", "64MiB/s", "4096B/s".
func humanRate(n int64) string {
	best := strconv.FormatInt(n, 10) + "B/s"
	for _, k := range []struct {
		base  int64
		units []string
	}{{1000, []string{"kB", "MB", "GB", "TB"}}, {1024, []string{"KiB", "MiB", "GiB", "TiB"}}} {
		v := n
		for _, unit := range k.units {
			if v == 0 || v%k.base != 0 {
				break
			}
			v /= k.base
			if s := strconv.FormatInt(v, 10) + unit + "/s"; len(s) <= len(best) {
				best = s
			}
		}
	}
	return best
}

// waited is the part of its time that something of it waited.
func waited(s control.Share) string {
	if s.ObservedUs == 0 {
		return ""
	}
	var sum int64
	for _, us := range s.WaitedUs {
		sum += us
	}
	return percent(100 * float64(sum) / float64(s.ObservedUs))
}

func why(s control.Share) string {
	switch {
	case s.Effective == nil:
		return "not attached"
	case s.Why == nil:
		return ""
	}
	text := s.Why.Short()
	if s.HeadAgeUs > 0 {
		text += fmt.Sprintf(", for %s", time.Duration(s.HeadAgeUs)*time.Microsecond)
	}
	return text
}
