// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/proxy"
	"pathgate/integration/sidebyside/load"
)

const (
	// meets is how long after a cut requests that begin count as met by it.
	meets = 3 * time.Second
	// patience is the longest that a cut may keep requests.
	patience = 3 * time.Minute
)

// Round is one cut.
type Round struct {
	Profile string
	Kind    Kind
	Path    int
	Reports map[string]load.Report // by contender
}

// Cut cuts a path, waits until every request has ended that the cut may have met, and
// mends the path. It returns when both contenders use both paths again.
func (b *Bed) Cut(t testing.TB, k Kind) Round {
	t.Helper()
	r := Round{Profile: b.profile.Name, Kind: k}
	if k != None {
		r.Path = b.choose(t)
	}
	if _, err := b.load.Mark(); err != nil {
		t.Fatal(err)
	}
	if err := b.cut(k, r.Path); err != nil {
		t.Fatalf("%v: %v", k, err)
	}
	for begin := time.Now(); ; {
		var err error
		if r.Reports, err = b.load.Report(); err != nil {
			t.Fatal(err)
		}
		if r.Reports[DM].Settled(meets) && r.Reports[Pathgate].Settled(meets) {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("%v: after %v: %+v", k, patience, r.Reports)
		}
		<-time.After(100 * time.Millisecond)
	}
	if k == BlackHole && b.proxies[r.Path].Counters().Fault(proxy.BlackHole).Bytes == 0 {
		t.Error("nothing was swallowed")
	}
	if err := b.mend(k, r.Path); err != nil {
		t.Fatalf("%v: %v", k, err)
	}
	b.ready(t)
	t.Logf("measured: %s: %v, path %d: pathgate %v, nothing ended for %v; dm-multipath %v, nothing ended for %v", r.Profile, k, r.Path,
		short(r.Reports[Pathgate].Longest), short(r.Reports[Pathgate].Gap), short(r.Reports[DM].Longest), short(r.Reports[DM].Gap))
	if p := r.Reports[Pathgate]; p.Errors > 0 {
		t.Errorf("%d requests to pathgate failed: %s", p.Errors, p.Failed)
	}
	return r
}

// choose names the path to be cut: one after the other, or, where dm-multipath uses
// one only, that one. The sessions of open-iscsi are numbered by portal, from 1.
func (b *Bed) choose(t testing.TB) int {
	t.Helper()
	if b.profile.Spread {
		b.next = 1 - b.next
		return b.next
	}
	out := b.Exec(t, `dev=$(dmsetup status --target multipath | sed -n 's/.* A 0 1 [0-9]* \(8:[0-9]*\) .*/\1/p')
readlink -f "/sys/dev/block/$dev/device" | grep -o 'session[12]'`)
	if strings.TrimSpace(out) == "session2" {
		return 1
	}
	return 0
}

func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Millisecond)
}
