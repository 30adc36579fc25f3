// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/sidebyside/load"
)

func TestTableOfRounds(t *testing.T) {
	round := func(profile string, k Kind, dm, pathgate time.Duration) Round {
		return Round{Profile: profile, Kind: k, Reports: map[string]load.Report{
			DM: {Longest: dm, Gap: dm / 2}, Pathgate: {Longest: pathgate, Gap: pathgate / 2},
		}}
	}
	got := Table([]Round{
		round("default", Reset, 3*time.Second, 30*time.Millisecond),
		round("tuned", Reset, 5*time.Second, 50*time.Millisecond),
		round("tuned", Reset, 4123*time.Millisecond, 40*time.Millisecond),
	})
	for _, want := range []string{
		"| Cut | pathgate | dm-multipath, default | dm-multipath, tuned | dm-multipath, shortest |\n|---|---|---|---|---|\n",
		"| reset | 40ms / 50ms (3) | 3s / 3s (1) | 4.12s / 5s (2) | - |\n",
		"| reset | 20ms / 25ms (3) | 1.5s / 1.5s (1) | 2.06s / 2.5s (2) | - |\n",
		"| link down | - | - | - | - |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout %s", got, want)
		}
	}
}

// TestProfiles: what a profile sets is in the file that it is set in.
func TestProfiles(t *testing.T) {
	if got := Profiles()[0].sed(); got != "" {
		t.Errorf("the default changes iscsid.conf: %s", got)
	}
	want := `s/^node\.conn\[0\]\.timeo\.noop_out_interval = .*/node.conn[0].timeo.noop_out_interval = 1/`
	if got := Profiles()[2].sed(); !strings.Contains(got, want) {
		t.Errorf("got %s, want %s in it", got, want)
	}
}
