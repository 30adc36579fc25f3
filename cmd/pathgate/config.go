// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pathgate/gateway"
)

// newConfigCmd makes "pathgate config".
func newConfigCmd() *cobra.Command {
	return asGroup(&cobra.Command{Use: "config", Short: "Work with configuration files"}, newConfigCheckCmd())
}

// loadConfig reads a configuration; when it is refused, every fault is shown on
// standard error, and the error is one line about all of them.
func loadConfig(cmd *cobra.Command, file string) (*gateway.Config, error) {
	cfg, err := gateway.Load(file)
	if err == nil {
		return cfg, nil
	}
	if e, ok := errors.AsType[*gateway.ConfigError](err); ok {
		if err := e.Excerpt(cmd.ErrOrStderr()); err != nil {
			return nil, err
		}
		return nil, configError{fmt.Errorf("%s: refused, %s", file, plural(len(e.Faults), "fault"))}
	}
	return nil, configError{err}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
