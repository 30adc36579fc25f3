// SPDX-License-Identifier: Apache-2.0

package devicetest_test

import (
	"os"
	"testing"
)

// tempDirIn gives a directory inside dir that the test's end removes.
func tempDirIn(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		t.Skip(err)
	}
	p, err := os.MkdirTemp(dir, "pathgate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(p); err != nil {
			t.Error(err)
		}
	})
	return p
}
