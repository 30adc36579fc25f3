// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"pathgate/backends/embedded"
)

// newEmbeddedCmd makes the hidden command that is the demo's target process.
func newEmbeddedCmd() *cobra.Command {
	return &cobra.Command{
		Use:    embedded.Command,
		Hidden: true,
		RunE:   func(_ *cobra.Command, args []string) error { return embedded.Main(args) },
	}
}
