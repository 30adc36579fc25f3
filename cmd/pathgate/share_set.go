// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newShareSetCmd makes "pathgate share set".
func newShareSetCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set VM[/DISK]",
		Short: "Set what a disk or VM is to get",
		Long: `Set what a disk is to get of its LUNs, or a VM's priority. What is not named stays.
The command ends when the change is in force and will be kept over a restart.

Rates are per second; "none" or 0 takes a limit or reservation away. A limit of the
disk bounds all its commands, --limit-iops-read and the like those that read or
write. A burst may pass at once above the limit; a peak is a higher limit for the
time --peak-length. Bandwidths are such as 100MB/s (10^6) or 64MiB/s (2^20).`,
		Example: `  pathgate share set vm1/root --shares 4000 --limit-iops 500 --limit-bandwidth 100MB/s
  pathgate share set vm1 --priority 8`,
		Args:              oneArg("VM or VM/DISK"),
		ValidArgsFunction: completeShares(to),
	}
	out := newFormat(cmd, false)
	var disk diskKnobs
	var vm control.VMShareChange
	f := knobs{cmd}
	f.number(&vm.Priority, "priority", "of the VM, `n` from 0 to 10, which is the most important")
	disk.flags(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		change, name, w := disk.change(), args[0], cmd.OutOrStdout()
		switch {
		case change == control.ShareChange{} && vm.Priority == nil:
			return usageError{fmt.Errorf("%s: nothing is to be set", name)}
		case isDisk(name) && vm.Priority != nil:
			return usageError{fmt.Errorf("disk %s: --priority is a VM's, and belongs to its name alone", name)}
		case !isDisk(name) && change != control.ShareChange{}:
			return usageError{fmt.Errorf("vm %s: only --priority is a VM's; the rest is for one disk, %s/DISK", name, name)}
		case isDisk(name):
			d, err := c.SetDiskShare(cmd.Context(), name, change)
			if err != nil {
				return err
			}
			return printDiskShare(w, out, d, false)
		}
		v, err := c.SetVMShare(cmd.Context(), name, vm)
		if err != nil {
			return err
		}
		return printVMShare(w, out, v, false)
	}
	return cmd
}

// limitKnobs are the flags of limits: of all commands, of reads, of writes.
type limitKnobs [3]control.ShareLimitChange

// change is what the flags set.
func (k *limitKnobs) change() (c [3]*control.ShareLimitChange) {
	for i := range k {
		if k[i] != (control.ShareLimitChange{}) {
			c[i] = &k[i]
		}
	}
	return c
}

// diskKnobs are the flags of a disk.
type diskKnobs struct {
	control.ShareChange
	limits limitKnobs
}

// change is what the flags set.
func (k *diskKnobs) change() control.ShareChange {
	c, l := k.ShareChange, k.limits.change()
	c.Limit, c.LimitRead, c.LimitWrite = l[0], l[1], l[2]
	return c
}

func (k *diskKnobs) flags(f knobs) {
	f.shares(&k.Shares)
	f.number(&k.ReserveIOPS, "reserve-iops", "at least `n` operations per second", "none")
	f.bandwidth(&k.ReserveBandwidth, "reserve-bandwidth", "at least so many bytes per second")
	f.number(&k.IdleCredit, "idle-credit", "`n` CU that it may be ahead of its part after it was idle", "none")
	addKnob(f, &k.Group, "group", "name", "be a member of the group `name`, or of none", func(s string) (string, error) {
		switch s {
		case "":
			return "", errors.New("is empty; none takes it out of its group")
		case "none":
			return "", nil
		}
		return s, nil
	})
	f.number(&k.QueueCommands, "queue-commands", "`n` commands of the VM may be outstanding on each of the disk's LUNs")
	f.size(&k.QueueBytes, "queue-bytes", "so many bytes of the VM may be outstanding on each of the disk's LUNs")
	k.limits.flags(f)
}

func (k *limitKnobs) flags(f knobs) {
	for i, of := range []struct{ suffix, what string }{{"", "commands"}, {"-read", "reads"}, {"-write", "writes"}} {
		l := &k[i]
		f.number(&l.IOPS, "limit-iops"+of.suffix, "at most `n` "+of.what+" per second", "none")
		f.bandwidth(&l.Bandwidth, "limit-bandwidth"+of.suffix, "at most so many bytes of "+of.what+" per second")
		f.number(&l.BurstIOPS, "burst-iops"+of.suffix, "`n` "+of.what+" may pass at once above the limit", "none")
		f.size(&l.BurstBytes, "burst-bytes"+of.suffix, "so many bytes of "+of.what+" may pass at once above the limit", "none")
		f.number(&l.PeakIOPS, "peak-iops"+of.suffix, "at most `n` "+of.what+" per second for a time above the limit", "none")
		f.bandwidth(&l.PeakBandwidth, "peak-bandwidth"+of.suffix, "at most so many bytes of "+of.what+" for a time above the limit")
		f.duration(&l.PeakLengthMs, time.Millisecond, "peak-length"+of.suffix, "the `time` of the peak, 1s by default", "none")
	}
}
