// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pathgate/gateway"
	"pathgate/gateway/control"
)

// newServeCmd makes "pathgate serve". to.flag, when given, goes before the
// control socket of the configuration.
func newServeCmd(to *target) *cobra.Command {
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Run the gateway",
		Long: `Run the gateway until SIGINT or SIGTERM.

On the first signal it stops listening, serves what clients have outstanding,
logs out of its targets and ends with status 0. A second signal ends it at once.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return errors.New("-c FILE is missing")
			}
			return noArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			sockets, err := gateway.PassedSockets()
			if err != nil {
				return err
			}
			cfg, err := loadConfig(cmd, file)
			if err != nil {
				return err
			}
			if to.flag != "" {
				path, ok := strings.CutPrefix(to.flag, "unix:")
				if !ok || !filepath.IsAbs(path) {
					return usageError{fmt.Errorf("control address %q: not of the form unix:/absolute/path", to.flag)}
				}
				cfg.Control = gateway.ListenAddr{Network: "unix", Address: path}
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			debug.SetMemoryLimit(int64(cfg.Limits.Memory))
			g, err := gateway.New(cfg, gateway.Options{Logger: log, Version: control.BuildVersion(), Sockets: sockets})
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // the next signal is not caught
			return refusedConfig(cmd, file, g.Run(ctx))
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}
