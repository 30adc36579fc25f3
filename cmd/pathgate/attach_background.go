// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// inBackground runs the same command as a process of its own, and returns when that
// has attached the device.
func (f *nbdFlags) inBackground(cmd *cobra.Command, name string) error {
	args := []string{cmd.Name(), name, "--background"}
	for _, s := range f.servers {
		args = append(args, "--server="+s)
	}
	for _, n := range append(ofDevice[:], "nbd-device", "host", "control") {
		if flag := cmd.Flags().Lookup(n); flag != nil && flag.Changed && n != "server" {
			args = append(args, "--"+n+"="+flag.Value.String())
		}
	}
	child := exec.Command("/proc/self/exe", args...)
	child.Dir = "/"
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	child.Stderr = os.Stderr // its own: it takes another one when the device is there
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Fprint(cmd.OutOrStdout(), line)
		return errors.Join(err, child.Process.Release())
	}
	failed := &exec.ExitError{}
	if err := child.Wait(); errors.As(err, &failed) && failed.Exited() {
		return childError{failed.ExitCode()}
	}
	return fmt.Errorf("the process in the background ended: %w", err)
}

// childError is a failure that the process in the background has already told.
type childError struct{ status int }

func (e childError) Error() string { return fmt.Sprintf("not attached, status %d", e.status) }

// leaveTerminal takes the process off its standard files, and gives the log that is left.
func leaveTerminal() (io.Writer, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return nil, err
		}
	}
	if w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "pathgate"); err == nil {
		return w, nil
	}
	return io.Discard, nil // a host without syslog
}
