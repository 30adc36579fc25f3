// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/multipath"
)

// Everything of a ghost comes back from the store: what is missing could not be fenced
// after a restart.
func TestGhostRecordsComeBackWhole(t *testing.T) {
	at := time.Unix(1_700_000_000, 5).UTC()
	want := []multipath.GhostRecord{
		{Device: "naa.1", Path: "vmhba0:0:1", Offset: 4096, Length: 512, Run: 3, Generation: 2, Target: "iqn.a", Portal: "10.0.0.1:3260", Tagged: true, GroupTag: 7, ITT: 7, CmdSN: 9, Time: at},
		{Device: "naa.2", Path: "vmhba0:0:2", Whole: true, Run: 1, Generation: 1, Target: "iqn.b", Portal: "10.0.0.2:3260", Tagged: true, Time: at},
	}
	s := pathStore{openStore(t, t.TempDir())}
	if err := s.PutGhosts(want...); err != nil {
		t.Fatal(err)
	}
	got, err := s.Ghosts()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}
