// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newRuleAddCmd makes "pathgate rule add".
func newRuleAddCmd(to *target) *cobra.Command {
	var change control.RuleChange
	cmd := &cobra.Command{
		Use:   "add NUMBER use|mask",
		Short: "Add a claim rule, in force at once and over restarts",
		Long: `Add a claim rule. What is in flight on a path that becomes masked ends first; new requests
take the other paths at once. A mask that takes a disk its last path is refused without
--force. ` + ruleKeysHelp,
		Example: `  pathgate rule add 100 mask --lun 5 --target 'iqn.2026-11.example:*'
  pathgate rule add 100 mask --vendor ACME --dry-run`,
		Args: twoArgs("NUMBER", "use or mask"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []cobra.Completion{"use", "mask"}, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	out := newFormat(cmd, false)
	ruleFlags(cmd, &change.Rule)
	changeFlags(cmd, &change)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := ruleArgs(&change.Rule, args); err != nil {
			return err
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		done, err := c.AddRule(cmd.Context(), change)
		if err != nil {
			return err
		}
		return printChange(cmd.OutOrStdout(), out, done, "added")
	}
	return cmd
}

func changeFlags(cmd *cobra.Command, c *control.RuleChange) {
	cmd.Flags().BoolVar(&c.Force, "force", false, "even if a disk loses its last path")
	cmd.Flags().BoolVar(&c.DryRun, "dry-run", false, "only tell what would become of which path, and who uses it")
}

// newRuleRemoveCmd makes "pathgate rule remove".
func newRuleRemoveCmd(to *target) *cobra.Command {
	var change control.RuleChange
	cmd := &cobra.Command{
		Use:     "remove NUMBER",
		Aliases: []string{"rm"},
		Short:   "Remove a claim rule that was added at run time",
		Long: `Remove a claim rule that was added at run time. Paths that are not masked any more come
back by a scan. A rule of the configuration is removed there.`,
		Args: oneArg("NUMBER"),
	}
	out := newFormat(cmd, false)
	changeFlags(cmd, &change)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return usageError{fmt.Errorf("%s: NUMBER is a number", args[0])}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		done, err := c.RemoveRule(cmd.Context(), n, change)
		if err != nil {
			return err
		}
		return printChange(cmd.OutOrStdout(), out, done, "removed")
	}
	return cmd
}

// newRuleCheckCmd makes "pathgate rule check".
func newRuleCheckCmd(to *target) *cobra.Command {
	var rule control.Rule
	cmd := &cobra.Command{
		Use:   "check [NUMBER use|mask]",
		Short: "Tell what claim rules hide, and who uses it",
		Long: `Tell which paths each rule decides, and of which devices, disks and VMs those are. With
NUMBER, an action and keys: what would be so if that rule were added. Nothing changes.
` + ruleKeysHelp,
		Example: `  pathgate rule check
  pathgate rule check 100 mask --lun 5`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return fmt.Errorf("either nothing, or NUMBER and use or mask")
			}
			return nil
		},
	}
	out := newFormat(cmd, false)
	ruleFlags(cmd, &rule)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && rule != (control.Rule{}) {
			return usageError{fmt.Errorf("a rule has a number and an action")}
		}
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if len(args) == 0 {
			check, err := c.CheckRules(cmd.Context())
			if err != nil {
				return err
			}
			return printEffects(cmd.OutOrStdout(), out, check)
		}
		if err := ruleArgs(&rule, args); err != nil {
			return err
		}
		check, err := c.AddRule(cmd.Context(), control.RuleChange{Rule: rule, DryRun: true})
		if err != nil {
			return err
		}
		return printChange(cmd.OutOrStdout(), out, check, "")
	}
	return cmd
}
