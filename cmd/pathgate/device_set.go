// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newDeviceSetCmd makes "pathgate device set".
func newDeviceSetCmd(to *target) *cobra.Command {
	var c control.SelectorChange
	cmd := newSelectorCmd(to, func(ctx context.Context, to *control.Client, name string) (control.Device, error) {
		if c == (control.SelectorChange{}) {
			return control.Device{}, usageError{fmt.Errorf("%s: nothing is to be set", name)}
		}
		return to.SetSelector(ctx, name, c)
	})
	cmd.Use, cmd.Short = "set NAME", "Set how a device's paths are selected"
	cmd.Long = `Set how a device's paths are selected. It counts from the next request on, and over
restarts; "reset" goes back to the configuration. What is not named stays, but for
options that another selector has not. "default" takes an option's value away.

  service-time   least bytes pending per weight
  round-robin    in turn: --iops requests or --bytes on each
  queue-length   fewest requests in flight per weight
  latency        soonest answer, by what the last ones took
  fixed          the --preferred path while it is there
  mru            the path that was used last, until it fails
  per-vm         a path of its own for each VM
  isolate-low    VMs with a priority below --below on --paths paths`
	cmd.Example = `  pathgate device set vmhba0:0:1 --selector per-vm
  pathgate device set vmhba0:0:1 --selector round-robin --iops 8 --weights 'vmhba0:*=2'`
	f := knobs{cmd}
	f.word(&c.Name, "selector", "the `name` of a selector, see above")
	f.number(&c.IOPS, "iops", "of round-robin: `n` requests on a path before the next", "default")
	f.size(&c.Bytes, "bytes", "of round-robin: so many bytes on a path before the next", "default")
	f.duration(&c.ResampleMs, time.Millisecond, "resample", "of latency: a path gets a request at least each `time`", "default")
	f.orDefault(&c.Preferred, "preferred", "path", "of fixed: the `path`, or the beginning of names and *")
	f.duration(&c.SettleMs, time.Millisecond, "settle", "of per-vm and isolate-low: `time` without a change before VMs move", "default")
	f.number(&c.Below, "below", "of isolate-low: priorities below `n` are low", "default")
	f.number(&c.Paths, "paths", "of isolate-low: `n` paths for low priorities", "default")
	addKnob(f, &c.Weights, "weights", "path=n,...", "in place of all weights: `PATH=N,...`, the first that matches a path counts; or none", parseWeights)
	addKnob(f, &c.UseNonOptimized, "use-non-optimized", "bool", "`true` uses non-optimized paths beside the optimized ones", func(s string) (bool, error) {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("is neither true nor false")
		}
		return b, nil
	})
	return cmd
}

// orDefault is a text; the word default stands for "".
func (f knobs) orDefault(into **string, name, kind, usage string) {
	addKnob(f, into, name, kind, usage, func(s string) (string, error) {
		switch s {
		case "":
			return "", errors.New("is empty; default takes it away")
		case "default":
			return "", nil
		}
		return s, nil
	})
}

// newDeviceResetCmd makes "pathgate device reset".
func newDeviceResetCmd(to *target) *cobra.Command {
	cmd := newSelectorCmd(to, func(ctx context.Context, c *control.Client, name string) (control.Device, error) {
		return c.ResetSelector(ctx, name)
	})
	cmd.Use, cmd.Short = "reset NAME", "Select a device's paths as the configuration says"
	return cmd
}

// newSelectorCmd makes a command that changes how the paths of one device are selected.
func newSelectorCmd(to *target, change func(context.Context, *control.Client, string) (control.Device, error)) *cobra.Command {
	cmd := &cobra.Command{Args: oneArg("NAME"), ValidArgsFunction: completeDevices(to)}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		d, err := change(cmd.Context(), c, args[0])
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		if out.isJSON() {
			return printJSON(w, d, "  ")
		}
		_, err = fmt.Fprintln(w, printable(fmt.Sprintf("device %s: %s%s", d.Name, selectorText(d), after("; ", optionTexts(d.SelectorOptions)...))))
		return err
	}
	return cmd
}
