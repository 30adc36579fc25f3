// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pathgate/gateway"
)

// TestConfigRefusedLater: faults that show when the state file is read are told as
// those of "config check", with the line, and end with its status.
func TestConfigRefusedLater(t *testing.T) {
	_, fault := gateway.Parse("t.yaml", []byte("control: nowhere\n"))
	if fault == nil {
		t.Fatal("taken for right")
	}
	var out bytes.Buffer
	cmd := &cobra.Command{Use: "pathgate"}
	cmd.SetErr(&out)
	err := refusedConfig(cmd, "t.yaml", fmt.Errorf("start: %w", fault))
	if status := report(&out, cmd, runtimeError{err}); status != exitUsage || !strings.Contains(out.String(), "t.yaml:1:10: control:") ||
		!strings.HasSuffix(out.String(), "pathgate: t.yaml: refused, 1 fault\n") {
		t.Errorf("status %d:\n%s", status, out.String())
	}
	other := errors.New("disk full")
	if err := refusedConfig(cmd, "t.yaml", other); err != other {
		t.Errorf("another error becomes %v", err)
	}
}
