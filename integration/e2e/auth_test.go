// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	chapUser, chapSecret     = "gateway", "one-way-secret-16"
	mutualUser, mutualSecret = "array", "mutual-secret-0016"
)

// secret writes a secret file and returns its name.
func secret(t testing.TB, text string) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "secret")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func chap(t testing.TB, mutual bool) string {
	t.Helper()
	s := fmt.Sprintf("user: %s, secret-file: %q", chapUser, secret(t, chapSecret))
	if mutual {
		s += fmt.Sprintf(", mutual-user: %s, mutual-secret-file: %q", mutualUser, secret(t, mutualSecret))
	}
	return "chap: {" + s + "}"
}

// login is one way to log in.
type login struct {
	chap, mutual, digests bool
}

func logins() map[string]login {
	return map[string]login{
		"none":            {},
		"chap":            {chap: true},
		"mutual chap":     {chap: true, mutual: true},
		"digests":         {digests: true},
		"mutual, digests": {chap: true, mutual: true, digests: true},
	}
}

func (l login) keys(t testing.TB) (more []string) {
	if l.chap {
		more = append(more, chap(t, l.mutual))
	}
	if l.digests {
		more = append(more, "header-digest: require", "data-digest: require")
	}
	return more
}

// TestLogins: stamps over sessions with CHAP and with digests, with a reset in
// between, so that logins are made anew under load.
func TestLogins(t *testing.T) {
	for name, l := range logins() {
		t.Run(name, func(t *testing.T) {
			b := newTargets(t, bedOptions{tgtd: func(o *tgtd.Options) {
				target := &o.Targets[0]
				if l.chap {
					target.User, target.Secret = chapUser, chapSecret
				}
				if l.mutual {
					target.MutualUser, target.MutualSecret = mutualUser, mutualSecret
				}
			}})
			if l.digests { // tgtd offers none by default
				for _, key := range []string{"HeaderDigest", "DataDigest"} {
					if out, err := b.tgts[0].Admin(t.Context(), "--mode", "target", "--op", "update", "--tid", "1", "--name", key, "--value", "CRC32C,None"); err != nil {
						t.Fatalf("%s: %v", out, err)
					}
				}
			}
			b.g = gate.New(t, b.config(bedOptions{more: l.keys(t)}))
			b.settle(t)
			b.resetUnderStamps(t, 8)
		})
	}
}

// TestLoginsLIO: the strictest of them against the kernel's target.
func TestLoginsLIO(t *testing.T) {
	s := lio.New(t, lio.Options{
		LUNs: []lio.LUN{{SizeBytes: lunSize, WriteThrough: true}}, Groups: []lio.PortalGroup{{Portals: 2}},
		User: chapUser, Secret: chapSecret, MutualUser: mutualUser, MutualSecret: mutualSecret,
	})
	b := &bed{}
	for _, portal := range s.Portals() {
		b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
	}
	b.g = gate.New(t, b.config(bedOptions{
		more:   login{chap: true, mutual: true, digests: true}.keys(t),
		config: gate.Config{Disks: []string{`{name: root, lun: "vmhba0:0:0"}`}},
	}))
	b.settle(t)
	b.resetUnderStamps(t, 9)
}

func (b *bed) resetUnderStamps(t testing.TB, seed uint64) {
	t.Helper()
	l := b.startStamps(t, seed)
	paths, mark := b.behind(t, 0), b.g.Events.Mark()
	b.proxies[0].ResetConns()
	b.lost(t, mark, paths, 5*time.Second)
	b.settle(t)
	l.flow(t)
	rep := l.finish(t)
	t.Logf("measured: %s", summary(rep))
}

// TestLoginRefused: with a wrong secret, ours or the target's, there is no path, the
// events and the disk say so, and no secret is in the log.
func TestLoginRefused(t *testing.T) {
	for name, wrong := range map[string]string{"ours": chapSecret, "the target's": mutualSecret} {
		t.Run(name, func(t *testing.T) {
			b := newTargets(t, bedOptions{tgtd: func(o *tgtd.Options) {
				target := &o.Targets[0]
				target.User, target.Secret = chapUser, strings.Replace(chapSecret, wrong, "not-the-secret-16", 1)
				target.MutualUser, target.MutualSecret = mutualUser, strings.Replace(mutualSecret, wrong, "not-the-secret-016", 1)
			}})
			b.g = gate.New(t, b.config(bedOptions{more: login{chap: true, mutual: true}.keys(t)}))
			e := b.g.Events.Wait(t, 0, 10*time.Second, gate.Kind("session-down"))
			t.Log(e)
			ds := b.g.Disks(t)
			if len(ds) != 1 || ds[0].Available || ds[0].Why == "" {
				t.Errorf("disks %+v, want one that is not available, and why", ds)
			}
			for _, p := range b.g.Paths(t) {
				if p.Used {
					t.Errorf("path %+v", p)
				}
			}
			for _, s := range []string{chapSecret, mutualSecret} {
				if strings.Contains(b.g.Log()+b.g.MustCLI(t, "events"), s) {
					t.Errorf("the secret %q is in the log", s)
				}
			}
		})
	}
}
