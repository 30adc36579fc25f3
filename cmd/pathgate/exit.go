// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
	"pathgate/gateway/nbdattach"
)

// Exit statuses; "pathgate help exit-codes" documents them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitHost        = 4
)

// newExitCodesTopic makes "pathgate help exit-codes", which is no command.
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit status tells",
		Long: `The exit status of every pathgate command:

  0  It was done. For "events --follow", "serve" and "attach --nbd-device": it was
     ended by a signal, or the device was detached.
  1  It failed: the gateway refused it, there is no such object, or something
     broke. The line on standard error says which object, why, and what to do.
  2  The command line is wrong, or a configuration is refused or not readable.
  3  No gateway answers at the control socket.
  4  This host cannot do it, and trying again does not help: it has no nbd driver,
     or this user may not set up block devices.

Standard output has nothing but what was asked for; all messages go to standard
error.`,
	}
}

// usageError is a fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// configError is a configuration that cannot be used.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// runtimeError is what a command's RunE returns: everything else that cobra
// returns is a fault of the command line.
type runtimeError struct{ error }

func (e runtimeError) Unwrap() error { return e.error }

// markRuntimeErrors makes the errors of all commands below cmd runtimeErrors.
func markRuntimeErrors(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return runtimeError{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		markRuntimeErrors(c)
	}
}

// report tells about err in one line (more only for several faults of a
// configuration) and gives the exit status.
func report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	if c, ok := errors.AsType[childError](err); ok {
		return c.status
	}
	status, text := exitFailure, printable(err.Error())
	_, ran := errors.AsType[runtimeError](err)
	_, wrong := errors.AsType[usageError](err)
	_, config := errors.AsType[configError](err)
	switch {
	case wrong || !ran:
		status = exitUsage
		text += fmt.Sprintf("; see \"%s --help\"", cmd.CommandPath())
	case config:
		status = exitUsage
	case errors.Is(err, nbdattach.ErrNoDriver), errors.Is(err, nbdattach.ErrPermission):
		status = exitHost
	case errors.Is(err, control.ErrUnreachable):
		status = exitUnreachable
		text += unreachableHint(text)
	default:
		text += refusedHint(err)
	}
	fmt.Fprintf(stderr, "pathgate: %s\n", text)
	return status
}

func unreachableHint(text string) string {
	if strings.Contains(text, "permission denied") {
		return "; run this as the user of the gateway, or name another socket with --control"
	}
	return "; start one with \"pathgate serve\", or name its socket with --control"
}

// listOf is the command that lists the objects of a kind, as a refusal names it.
var listOf = map[string]string{
	"path": "path list", "adapter": "path list", "adapter, portal, target or path": "path list", "device": "device list",
	"port group": "path list", "alias": "device list", "disk": "disk list", "vm": "vm list", "vm, disk or lun": "share list",
	"lun": "share lun list", "group": "share group list", "rule": "rule list",
}

// refusedHint says what to do about a refusal that does not say it itself.
func refusedHint(err error) string {
	e, ok := errors.AsType[*control.Error](err)
	switch {
	case !ok:
	case e.Code == control.CodeNotFound && !strings.Contains(e.Message, "did you mean"):
		_, kind, _ := strings.Cut(e.Message, "no such ")
		if list := listOf[kind]; list != "" {
			return fmt.Sprintf("; \"pathgate %s\" shows all", list)
		}
	case e.Code == control.CodeConflict && strings.HasSuffix(e.Message, "force it"):
		return " with --force"
	}
	return ""
}
