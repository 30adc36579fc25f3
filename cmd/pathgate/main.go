// SPDX-License-Identifier: Apache-2.0

// Pathgate is a userspace block gateway: it serves virtual disks of VMs over several
// paths to iSCSI targets. This command runs it and administers it; see
// "pathgate help".
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and gives the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return report(stderr, cmd, err)
}

// newRootCmd makes the whole command tree.
func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "pathgate",
		Short: "A block gateway with a storage path manager that knows the VMs",
		Long: `Pathgate serves virtual disks of VMs over several paths to iSCSI targets.

All commands but serve, target, demo, config, detach and version talk to a running gateway, at the socket
that --control names, else the environment variable PATHGATE_CONTROL, else at the default
of this user. See also: pathgate help exit-codes`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var to target
	root.PersistentFlags().StringVar(&to.flag, "control", "", "control socket of the gateway, `unix:/path`")
	asGroup(root,
		newServeCmd(&to),
		newFileTargetCmd(),
		newDemoCmd(),
		newConfigCmd(),
		newPathCmd(&to),
		newRuleCmd(&to),
		newDeviceCmd(&to),
		newReservationCmd(&to),
		newDiskCmd(&to),
		newVMCmd(&to),
		newSessionCmd(&to),
		newAttachCmd(&to),
		newDetachCmd(),
		newShareCmd(&to),
		newExplainCmd(&to),
		newRescanCmd(&to),
		newEventsCmd(&to),
		newVersionCmd(),
		newExitCodesTopic(),
	)
	markRuntimeErrors(root)
	return root
}
