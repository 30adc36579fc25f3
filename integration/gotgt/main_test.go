// SPDX-License-Identifier: Apache-2.0

//go:build integration

package gotgt

import (
	"fmt"
	"os"
	"testing"
)

// TestMain is a target's process when it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		if err := Main(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
