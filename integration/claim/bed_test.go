// SPDX-License-Identifier: Apache-2.0

//go:build integration

package claim

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/tgtd"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

const (
	mib     = 1 << 20
	patient = 30 * time.Second
	iqn     = "iqn.2026-11.test:"
	total   = 12 // paths of each bed
)

// bed is a gateway with two adapters, on a tgtd with two portals and two targets: a has
// LUN 1, which vm1/root is on, and LUN 2; b has LUN 1. Twelve paths.
type bed struct {
	g   *gate.Gate
	srv *tgtd.Server
}

func newBed(t *testing.T, c gate.Config) *bed {
	t.Helper()
	b := &bed{srv: tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{
			{Name: iqn + "a", LUNs: []tgtd.LUN{
				{SizeBytes: 64 * mib, SCSIID: "root", SCSISN: "r"},
				{SizeBytes: 64 * mib, SCSIID: "other", SCSISN: "o", Vendor: "ACME", Product: "SECRET DISK", Revision: "0103"},
			}},
			{Name: iqn + "b", LUNs: []tgtd.LUN{{SizeBytes: 64 * mib, SCSIID: "third", SCSISN: "t"}}},
		},
	})}
	c.Targets = []gate.Target{{Portals: b.srv.Portals()}}
	b.g = gate.New(t, c)
	return b
}

// path is a path as rules see it.
type path struct {
	Name, Health, Reason, Device, Portal, Target, Identity string
	Masked, LUN                                            int
}

// check is the answer of `rule check`, `add` and `remove`.
type check struct {
	Hides, Shows []path
	Devices      []struct {
		Name, Loses string
		Disks       []struct{ Name, VM string }
	}
	Conflict string
	Applied  bool
}

// all gives every path with its health, by name. LUN 0, which is tgtd's controller, is
// left out: masked without being asked it is listed, since nobody knows that it is no
// disk.
func (b *bed) all(t *testing.T) map[string]path {
	t.Helper()
	var list []path
	if err := json.Unmarshal([]byte(b.g.MustCLI(t, "path", "list", "--all", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	m := map[string]path{}
	for _, p := range list {
		if p.LUN > 0 {
			m[p.Name] = p
		}
	}
	return m
}

func (b *bed) rule(t *testing.T, args ...string) (c check) {
	t.Helper()
	out := b.g.MustCLI(t, append(append([]string{"rule"}, args...), "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

func names(list []path) (out []string) {
	for _, p := range list {
		if !strings.HasSuffix(p.Name, ":0") {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}

// settle waits until exactly these paths are masked, and have left, and all others are
// up; there are total.
func (b *bed) settle(t *testing.T, masked []string) {
	t.Helper()
	var got map[string]path
	if !gate.Poll(patient, func() bool {
		got = b.all(t)
		for name, p := range got {
			want := "up"
			if slices.Contains(masked, name) {
				want = "masked"
			}
			if p.Health != want || want == "masked" && strings.Contains(p.Reason, ";") {
				return false
			}
		}
		return len(got) == total
	}) {
		t.Fatalf("masked should be %q, and %d paths in all: %+v", masked, total, got)
	}
}
