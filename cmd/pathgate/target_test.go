// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// The flag wins over the environment, which wins over the default. Nothing is dialed: a
// gateway of this machine may listen there.
func TestTargetAddress(t *testing.T) {
	t.Setenv("PATHGATE_CONTROL", "")
	if got := (&target{}).address(); !strings.HasPrefix(got, "unix:/") || !strings.HasSuffix(got, "pathgate/control.sock") {
		t.Errorf("default: %s", got)
	}
	t.Setenv("PATHGATE_CONTROL", "unix:/env.sock")
	if got := (&target{}).address(); got != "unix:/env.sock" {
		t.Errorf("environment: %s", got)
	}
	if got := (&target{flag: "unix:/flag.sock"}).address(); got != "unix:/flag.sock" {
		t.Errorf("flag: %s", got)
	}
}
