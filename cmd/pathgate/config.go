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
	if refused := refusedConfig(cmd, file, err); refused != err {
		return nil, refused
	}
	return nil, configError{err}
}

// refusedConfig shows the faults of a configuration that err is about, if it is.
func refusedConfig(cmd *cobra.Command, file string, err error) error {
	e, ok := errors.AsType[*gateway.ConfigError](err)
	if !ok {
		return err
	}
	if err := e.Excerpt(cmd.ErrOrStderr()); err != nil {
		return err
	}
	return configError{fmt.Errorf("%s: refused, %s", file, plural(len(e.Faults), "fault"))}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
