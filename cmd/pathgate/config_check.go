// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pathgate/gateway"
)

// newConfigCheckCmd makes "pathgate config check".
func newConfigCheckCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration without using it",
		Long: `Check a configuration file, and the mode and owner of the secret files that it
names. Every fault is shown with its line. The status is 2 when there is one.`,
		Args: oneArg("FILE"),
	}
	out := newFormat(cmd, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out.isJSON() {
			return checkJSON(cmd, args[0])
		}
		cfg, err := loadConfig(cmd, args[0])
		if err != nil {
			return err
		}
		for _, f := range cfg.Warnings() {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v\n", f)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", printable(args[0]), summary(cfg))
		return err
	}
	return cmd
}

func summary(c *gateway.Config) string {
	portals, disks := 0, 0
	for _, t := range c.Targets {
		portals += len(t.Portals)
	}
	for _, vm := range c.VMs {
		disks += len(vm.Disks)
	}
	return fmt.Sprintf("%s, %s, %s, %s, %s, %s", plural(len(c.Adapters), "adapter"), plural(portals, "portal"),
		plural(len(c.VMs), "VM"), plural(disks, "disk"), plural(len(c.NBD.Listen), "NBD listener"), plural(len(c.ISCSI.Listen), "iSCSI listener"))
}

// checkResult is the answer in JSON.
type checkResult struct {
	File   string       `json:"file"`
	OK     bool         `json:"ok"`
	Faults []checkFault `json:"faults"`
	// Warnings are what will have no effect; OK is true with them.
	Warnings []checkFault `json:"warnings,omitempty"`
}

type checkFault struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Value   string `json:"value,omitempty"`
	Message string `json:"message"`
	Rule    string `json:"rule,omitempty"`
}

func checkJSON(cmd *cobra.Command, file string) error {
	res := checkResult{File: file, Faults: []checkFault{}}
	cfg, err := gateway.Load(file)
	if err != nil {
		e, ok := errors.AsType[*gateway.ConfigError](err)
		if !ok {
			return configError{err}
		}
		for _, f := range e.Faults {
			res.Faults = append(res.Faults, showFault(f))
		}
		err = configError{fmt.Errorf("%s: refused, %s", file, plural(len(e.Faults), "fault"))}
	}
	if err == nil {
		for _, f := range cfg.Warnings() {
			res.Warnings = append(res.Warnings, showFault(f))
		}
	}
	res.OK = err == nil
	return errors.Join(printJSON(cmd.OutOrStdout(), res, "  "), err)
}

func showFault(f gateway.Fault) checkFault {
	return checkFault{f.Line, f.Column, f.Key, f.Value, f.Message, f.Rule}
}
