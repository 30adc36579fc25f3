// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// asGroup makes cmd a command that only has subcommands: without one it prints its
// help and fails, with an unknown one it fails, where cobra alone would succeed.
func asGroup(cmd *cobra.Command, sub ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(sub...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.DisableFlagsInUseLine = true
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		prefix := ""
		if cmd.HasParent() {
			prefix = cmd.Name() + ": "
		}
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError{errors.New(prefix + "a command is missing")}
		}
		msg := fmt.Sprintf("%sthere is no command %q", prefix, args[0])
		if other := cmd.SuggestionsFor(args[0]); len(other) > 0 {
			msg += "; did you mean " + strings.Join(other, " or ") + "?"
		}
		return usageError{errors.New(msg)}
	}
	return cmd
}

// noArgs refuses arguments.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// oneArg wants one argument, which the usage calls name.
func oneArg(name string) cobra.PositionalArgs { return exactArgs(name) }

// twoArgs likewise.
func twoArgs(first, second string) cobra.PositionalArgs { return exactArgs(first, second) }

func exactArgs(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		for i, name := range names {
			if i >= len(args) || args[i] == "" {
				return fmt.Errorf("%s is missing", name)
			}
		}
		if len(args) > len(names) {
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
