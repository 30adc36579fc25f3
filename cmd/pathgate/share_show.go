// SPDX-License-Identifier: Apache-2.0

package main

import (
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

// newShareShowCmd makes "pathgate share show".
func newShareShowCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show VM[/DISK]",
		Short: "Show what is set for a VM or disk, and what it gets",
		Long: `Show what is set for a disk ("vm1/root") or a VM, and for each of its LUNs what is in
force, what it is entitled to, uses and asks for, and for what it waits and waited.`,
		Args:              oneArg("VM or VM/DISK"),
		ValidArgsFunction: completeShares(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		w := cmd.OutOrStdout()
		if isDisk(args[0]) {
			d, err := c.DiskShare(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printDiskShare(w, out, d, true)
		}
		v, err := c.VMShare(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printVMShare(w, out, v, true)
	}
	return cmd
}

// newShareResetCmd makes "pathgate share reset".
func newShareResetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reset VM[/DISK]",
		Short: "Go back to what the configuration says of a VM or disk",
		Long: `Take back all that "pathgate share set" has set for the disk, or, for the name of a
VM, the VM's priority; its disks keep theirs.`,
		Args:              oneArg("VM or VM/DISK"),
		ValidArgsFunction: completeShares(to),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		w := cmd.OutOrStdout()
		if isDisk(args[0]) {
			d, err := c.ResetDiskShare(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printDiskShare(w, out, d, false)
		}
		v, err := c.ResetVMShare(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printVMShare(w, out, v, false)
	}
	return cmd
}

// sheet is text of "name value" lines in sections.
type sheet struct{ b strings.Builder }

func (s *sheet) title(format string, args ...any) {
	fmt.Fprintln(&s.b, printable(fmt.Sprintf(format, args...)))
}

func (s *sheet) line(name, format string, args ...any) {
	fmt.Fprintf(&s.b, "  %-14s %s\n", name, printable(fmt.Sprintf(format, args...)))
}

func (s *sheet) warnings(list []control.ShareWarning) {
	for _, w := range list {
		s.line("warning", "%s", w.Message)
	}
}

func (s *sheet) print(w io.Writer) error {
	_, err := io.WriteString(w, s.b.String())
	return err
}

// printDiskShare prints a disk; all: with its flows.
func printDiskShare(w io.Writer, out *format, d control.DiskShare, all bool) error {
	if out.isJSON() {
		return printJSON(w, d, "  ")
	}
	var s sheet
	s.title("disk %s: %s%s", d.Disk, settingsText(d.Settings), overriddenText(d.Overridden))
	s.flows(d.Flows, all)
	return s.print(w)
}

func printVMShare(w io.Writer, out *format, v control.VMShare, all bool) error {
	if out.isJSON() {
		return printJSON(w, v, "  ")
	}
	var s sheet
	s.title("vm %s: priority %d%s", v.VM, v.Priority, overriddenText(v.Overridden))
	if all {
		for _, d := range v.Disks {
			s.title("disk %s: %s%s", d.Disk, settingsText(d.Settings), overriddenText(d.Overridden))
		}
	}
	s.flows(v.Flows, all)
	return s.print(w)
}

// flows tells of each flow: all, or only what is in force and warnings.
func (s *sheet) flows(list []control.Share, all bool) {
	for i := range list {
		f := &list[i]
		s.title("on %s, disks %s", f.LUN, strings.Join(f.Disks, ", "))
		if f.Effective == nil {
			s.line("in force", "nothing: the LUN is not there")
			continue
		}
		s.line("in force", "%s", inForceText(f))
		if len(f.LimitedDisks) > 0 {
			s.line("limits", "kept for each disk by itself: %s", strings.Join(f.LimitedDisks, ", "))
		}
		if all {
			s.flow(f)
		}
		s.warnings(f.Warnings)
	}
}

func (s *sheet) flow(f *control.Share) {
	s.line("set", "%s", settingsText(f.Configured))
	s.line("entitled", "%.1f%%, %.0f CU/s", f.EntitledPercent, f.EntitledCU)
	over := ""
	if f.Over {
		over = ", over its entitlement"
	}
	s.line("used", "%.1f%%, %.0f CU/s%s", f.UsedPercent, f.UsedCU, over)
	if f.DemandUnbounded {
		s.line("demand", "all that it can get")
	} else {
		s.line("demand", "%.1f%%, %.0f CU/s", f.DemandPercent, f.DemandCU)
	}
	s.line("lead", "%d CU", f.LeadCU)
	s.line("queue", "%d commands, %d CU; in flight %d, held by the paths %d", f.Queued, f.QueuedCU, f.Inflight, f.Parked)
	if f.Why != nil {
		s.line("head", "%s, for %s", f.Why.Sentence(), time.Duration(f.HeadAgeUs)*time.Microsecond)
	}
	s.line("dispatched", "%d commands, %d CU, %s%s", f.Commands, f.CU, humanBytes(f.Bytes), phasesText(f.Phases))
	s.line("waited", "%s", waitedText(f))
	s.line("reservation", "%s", f.Reservation)
	s.line("longest gap", "%s", time.Duration(f.LongestGapUs)*time.Microsecond)
}

func inForceText(f *control.Share) string {
	e := f.Effective
	text := settingsText(e.ShareSettings)
	if e.Weight != e.Shares {
		text += fmt.Sprintf(", weight %d by priority", e.Weight)
	}
	if e.ReservationCU > 0 {
		text += fmt.Sprintf(", reserved %.0f CU/s", e.ReservationCU)
	}
	if e.LimitCU > 0 {
		text += fmt.Sprintf(", limited to %.0f CU/s", e.LimitCU)
	}
	return text + fmt.Sprintf(" (settings %d)", e.Version)
}

// settingsText tells what is set, in words: "shares 4000, priority 5, limit 500/s".
func settingsText(s control.ShareSettings) string {
	parts := []string{"shares " + strconv.FormatUint(uint64(s.Shares), 10), "priority " + strconv.Itoa(int(s.Priority))}
	if r := reservation(s); r != "" {
		parts = append(parts, "reservation "+r)
	}
	parts = append(parts, limitTexts(s.Limit, s.LimitRead, s.LimitWrite)...)
	if s.IdleCredit > 0 {
		parts = append(parts, fmt.Sprintf("idle credit %d CU", s.IdleCredit))
	}
	if s.Group != "" {
		parts = append(parts, "group "+s.Group)
	}
	return strings.Join(parts, ", ")
}

func limitTexts(total, read, write control.ShareLimit) (parts []string) {
	for _, l := range []struct {
		name string
		of   control.ShareLimit
	}{{"limit ", total}, {"limit of reads ", read}, {"limit of writes ", write}} {
		r := rates(l.of.IOPS, l.of.Bandwidth)
		if r == "" {
			continue
		}
		if l.of.BurstIOPS > 0 {
			r += fmt.Sprintf(" burst %d", l.of.BurstIOPS)
		}
		if l.of.BurstBytes > 0 {
			r += " burst " + humanBytes(uint64(l.of.BurstBytes))
		}
		if p := rates(l.of.PeakIOPS, l.of.PeakBandwidth); p != "" {
			r += " peak " + p
			if l.of.PeakLengthMs > 0 {
				r += " for " + (time.Duration(l.of.PeakLengthMs) * time.Millisecond).String()
			}
		}
		parts = append(parts, l.name+r)
	}
	return parts
}

func overriddenText(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return "; set at run time: " + strings.Join(keys, ", ")
}

func phasesText(m map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

func waitedText(f *control.Share) string {
	if f.ObservedUs == 0 {
		return "0.0%"
	}
	text := waited(*f) + "%"
	sep := ": "
	for _, reason := range slices.Sorted(maps.Keys(f.WaitedUs)) {
		text += fmt.Sprintf("%s%s %.1f%%", sep, reason, 100*float64(f.WaitedUs[reason])/float64(f.ObservedUs))
		sep = ", "
	}
	return text
}
