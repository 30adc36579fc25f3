// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pathgate/gateway/nbdattach"
)

// newDetachCmd makes "pathgate detach".
func newDetachCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "detach DEVICE",
		Short: "Detach a disk that is a block device of this host",
		Long: `Write out what this host has in its cache for a device that "pathgate attach" has made,
and take it down. The attach command that looks after it ends. A device that is in use,
by a mounted file system say, is left alone unless --force is given: whoever uses it
gets errors then, and what was not written out is lost.`,
		Args: oneArg("DEVICE"),
		RunE: func(_ *cobra.Command, args []string) error {
			index, err := nbdattach.ParseDevice(args[0])
			if err == nil && index == nbdattach.AnyDevice {
				err = errors.New("auto is no device to detach")
			}
			if err != nil {
				return usageError{err}
			}
			err = nbdattach.Detach(index, force)
			if errors.Is(err, nbdattach.ErrInUse) && !force {
				return fmt.Errorf("%w; or pull it away with --force", err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if it is in use, or was not attached by pathgate")
	return cmd
}
