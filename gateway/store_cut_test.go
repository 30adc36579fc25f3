// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStoreReadOfCutFile: reading a file that was cut while it was open is an error that
// names it.
func TestStoreReadOfCutFile(t *testing.T) {
	for _, size := range []int64{0, 100, 4096, 8192, 20481} {
		path, _ := filled(t, t.TempDir())
		s := openStore(t, filepath.Dir(path))
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		_, err1 := s.Ghosts()
		_, err2 := s.ISIDs()
		_, err3 := s.ShareOverrides()
		_, err4 := s.GatewayID()
		for _, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, ErrStoreCorrupt) || strings.Count(err.Error(), path) != 1 {
				t.Error(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
