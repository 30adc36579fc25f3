// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"path/filepath"
	"testing"

	"pathgate/integration/qmp"
)

// monitor gives arguments of QEMU for a monitor, and what connects to it.
func monitor(t *testing.T) (connect func() *qmp.Monitor, args []string) {
	t.Helper()
	socket := filepath.Join(shortDir(t), "qmp")
	return func() *qmp.Monitor {
		t.Helper()
		m, err := qmp.Dial(socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}, []string{"-qmp", "unix:" + socket + ",server=on,wait=off"}
}
