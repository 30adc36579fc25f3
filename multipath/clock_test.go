// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// B63: nothing is reckoned in numbers of the clock on the wall, which may step: times are
// only ever compared with each other, which Go does by the clock that never does.
func TestB63NoWallClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{".Unix(", ".UnixNano(", ".UnixMilli(", ".UnixMicro("} {
			if !strings.HasSuffix(name, "_test.go") && strings.Contains(string(text), word) {
				t.Errorf("%s has %s", name, word)
			}
		}
	}
}
