// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
)

// newRuleCmd makes "pathgate rule".
func newRuleCmd(to *target) *cobra.Command {
	return asGroup(&cobra.Command{
		Use:   "rule",
		Short: "Show, add and remove claim rules, which mask paths",
		Long: `A claim rule says what becomes of the paths that match all its keys: use or mask. Rules
have numbers; the first one that matches a path decides, and behind the last one stands
"use". A masked path belongs to no device, and nothing is sent to its LUN. Rules stand in
the configuration (claim-rules:), or are added at run time and kept over restarts.`,
	}, newRuleListCmd(to), newRuleAddCmd(to), newRuleRemoveCmd(to), newRuleCheckCmd(to))
}

// newRuleListCmd makes "pathgate rule list".
func newRuleListCmd(to *target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all claim rules by number",
		Args:    noArgs,
	}
	out := newFormat(cmd, true)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := to.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		rules, err := c.Rules(cmd.Context())
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), out, rules, ruleColumns())
	}
	return cmd
}

func ruleColumns() []column[control.Rule] {
	type R = control.Rule
	return []column[R]{
		{name: "RULE", value: func(r R) string { return strconv.Itoa(r.Number) }, right: true},
		{name: "ACTION", value: func(r R) string { return r.Action }},
		{name: "SOURCE", value: func(r R) string { return r.Source }},
		{name: "PATHS", value: func(r R) string { return strconv.Itoa(r.Paths) }, right: true},
		{name: "MATCH", value: func(r R) string { return r.Match }},
		{name: "NEVER", value: func(r R) string { return r.Never }},
	}
}

// ruleFlags gives cmd the keys of a rule as flags.
func ruleFlags(cmd *cobra.Command, r *control.Rule) {
	f := cmd.Flags()
	f.StringVar(&r.Adapter, "adapter", "", "adapter, `name`")
	f.StringVar(&r.Portal, "portal", "", "portal of the target, `address:port`")
	f.StringVar(&r.Target, "target", "", "iSCSI `name` of the target")
	f.StringVar(&r.LUN, "lun", "", "LUN or `range`, 5 or 0-7")
	f.StringVar(&r.Path, "path", "", "path, `name`, such as vmhba0:0:2")
	f.StringVar(&r.Identity, "identity", "", "identity of the LUN, `id`, such as naa.6001405*")
	f.StringVar(&r.Vendor, "vendor", "", "vendor, `text` of INQUIRY")
	f.StringVar(&r.Product, "product", "", "product, `text` of INQUIRY")
	f.StringVar(&r.Revision, "revision", "", "revision, `text` of INQUIRY")
}

const ruleKeysHelp = `At least one key is given; all that are given have to match. In each of them * stands for
any text: --path '*' is for all paths.`

// ruleArgs reads NUMBER and ACTION.
func ruleArgs(r *control.Rule, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return usageError{fmt.Errorf("%s: NUMBER is a number", args[0])}
	}
	r.Number, r.Action = n, args[1]
	return nil
}
