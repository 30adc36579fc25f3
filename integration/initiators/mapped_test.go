// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pathgate/backends"
	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/internal/scsi"
)

// The owners of two VMs, and what each VM has.
var (
	alice = account{"iqn.2026-11.test:alice", "alice", secret}
	bob   = account{"iqn.2026-11.test:bob", "bob", "bob-and-the-gateway"}
)

const (
	vm1, vm2 = prefix + "vm1", prefix + "vm2"
	bobsLUN  = 7 // of vm2; vm1 has 0 and 1
)

// startMapped starts a gateway with vm1 for alice and vm2 for bob.
func startMapped(t *testing.T) (*gate.Gate, string) {
	t.Helper()
	dir := t.TempDir()
	bobs := filepath.Join(dir, "bob")
	if err := os.WriteFile(bobs, []byte(bob.secret), 0o600); err != nil {
		t.Fatal(err)
	}
	g, portals := start(t, gate.Config{
		VM: `{initiators: ["` + alice.name + `"], chap: {user: alice, secret-file: "` + secretFile(t) + `"}}`,
		Disks: []string{
			`{name: root, file: "` + dir + `/vm1-root", size: 1MiB}`,
			`{name: data, file: "` + dir + `/vm1-data", size: 1MiB}`,
		},
		VMs: []string{`{name: vm2, clients: shared, iscsi: {initiators: ["` + bob.name + `"], chap: {user: bob, secret-file: "` + bobs + `"}}, ` +
			`disks: [{name: root, lun-id: 7, file: "` + dir + `/vm2-root", size: 1MiB}]}`},
	}, 1)
	g.WaitDisks(t, startLimit, available(3))
	return g, portals[0]
}

// url is what libiscsi and QEMU take: as a, at the portal, what stands behind it.
func (a account) url(portal, rest string) string {
	return "iscsi://" + a.user + "%" + a.secret + "@" + portal + rest
}

// TestP14OtherTarget: who has one VM's name and secret is told of that VM only, and gets
// into no other one, by whatever it mixes of what it has with what it has not.
func TestP14OtherTarget(t *testing.T) {
	_, portal := startMapped(t)
	for _, tt := range []struct {
		who        account
		own, other string
		lun        string
	}{{alice, vm1, vm2, "0"}, {bob, vm2, vm1, "7"}} {
		out := run(t, true, "iscsi-ls", "-i", tt.who.name, tt.who.url(portal, ""))
		if demand(t, out, "Target:"+tt.own); strings.Contains(out, tt.other) {
			t.Errorf("%s is told of %s:\n%s", tt.who.user, tt.other, out)
		}
		run(t, true, "iscsi-inq", "-i", tt.who.name, tt.who.url(portal, "/"+tt.own+"/"+tt.lun))
		for _, target := range []string{tt.other + "/0", tt.other + "/7", prefix + strings.ToUpper(strings.TrimPrefix(tt.other, prefix)) + "/0"} {
			run(t, false, "iscsi-inq", "-i", tt.who.name, tt.who.url(portal, "/"+target))
		}
		for target, ok := range map[string]bool{tt.own: true, tt.other: false} {
			run(t, ok, "qemu-img", "info", "--object", "secret,id=s,data="+tt.who.secret,
				`json:{"driver":"iscsi","transport":"tcp","portal":"`+portal+`","target":"`+target+`","lun":`+tt.lun+
					`,"initiator-name":"`+tt.who.name+`","user":"`+tt.who.user+`","password-secret":"s"}`)
		}
	}
	for _, liar := range []account{
		{alice.name, alice.user, alice.secret},
		{bob.name, alice.user, alice.secret},
		{bob.name, bob.user, alice.secret},
		{alice.name, bob.user, bob.secret},
		{bob.name, "", ""},
	} {
		if _, loss := liar.visit(t, portal, vm2, 1); loss == nil || loss.Class != backends.LossDenied {
			t.Errorf("%+v: %+v", liar, loss)
		}
	}
	bob.mustVisit(t, portal, vm2, 1)
}

// TestP14OtherUnit: a session reaches no unit of another VM: not by its number, by any
// operation code, and not by its name in EXTENDED COPY.
func TestP14OtherUnit(t *testing.T) {
	_, portal := startMapped(t)
	a, b := alice.mustVisit(t, portal, vm1, 1), bob.mustVisit(t, portal, vm2, 1)
	for lun, fill := range []byte{1, 2} {
		if got := a.write(t, uint16(lun), fill); got != backends.OK {
			t.Fatal(got)
		}
	}
	if got := b.write(t, bobsLUN, 3); got != backends.OK {
		t.Fatal(got)
	}
	unharmed := func(after string) {
		t.Helper()
		if fill, class := b.read(t, bobsLUN); fill != 3 || class != backends.OK {
			t.Fatalf("after %s the other VM's disk has %d, %v", after, fill, class)
		}
	}
	data, res := a.do(t, 0, scsi.ReportLUNs{AllocationLength: 4096}, 4096, nil)
	luns, err := scsi.DecodeLUNList(data, 100)
	if err != nil || !res.OK() {
		t.Fatalf("REPORT LUNS: %+v, %v", res, err)
	}
	var numbers []uint16
	for _, l := range luns.LUNs {
		numbers = append(numbers, uint16(l.LUN))
	}
	if diff := cmp.Diff([]uint16{0, 1}, numbers); diff != "" {
		t.Error(diff)
	}
	if data, res := a.do(t, bobsLUN, scsi.Inquiry{AllocationLength: 96}, 96, nil); !res.OK() || len(data) == 0 || data[0] != 0x7f {
		t.Errorf("INQUIRY: %+v, %x", res, data)
	}
	for op := range 256 {
		switch scsi.Opcode(op) {
		case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense:
			continue // answered for any number
		default:
		}
		for _, lun := range []uint16{bobsLUN, 0x3fff} {
			_, res := a.do(t, lun, cdb{byte(op)}, 512, nil)
			if s := res.Sense; !s.Valid || s.Key != 5 || s.ASC != 0x25 || s.ASCQ != 0 {
				t.Errorf("operation code %#02x at LUN %d: %+v", op, lun, res)
			}
		}
	}
	if _, res := a.do(t, bobsLUN, scsi.ReadWrite{Write: true, Blocks: 1}, 0, make([]byte, 512)); res.OK() {
		t.Error("a unit of another VM was written")
	}
	unharmed("all operation codes")
	copyAcross(t, a, b, unharmed)
}

// copyAcross has a copy between its own units, which works, and to and from that of b,
// which does not.
func copyAcross(t *testing.T, a, b *visitor, unharmed func(after string)) {
	t.Helper()
	first, second, foreign := copyTarget(t, a, 0), copyTarget(t, a, 1), copyTarget(t, b, bobsLUN)
	extendedCopy := func(from, to scsi.CopyTarget) backends.Result {
		list := scsi.CopyList{
			Targets: []scsi.CopyTarget{from, to}, Segments: []scsi.CopySegment{{Source: 0, Destination: 1, Blocks: 1}},
		}.Append(nil)
		_, res := a.do(t, 0, cdb{byte(scsi.OpExtendedCopy), 12: byte(len(list) >> 8), 13: byte(len(list))}, 0, list)
		return res
	}
	for _, tt := range []struct {
		name     string
		from, to scsi.CopyTarget
	}{
		{"a copy to it", first, foreign}, {"a copy from it", foreign, second}, {"a copy of it onto itself", foreign, foreign},
	} {
		if res := extendedCopy(tt.from, tt.to); res.Sense.Key != 0x0a || res.Sense.ASC != 0x08 || res.Sense.ASCQ != 4 {
			t.Errorf("%s: %+v", tt.name, res)
		}
		unharmed(tt.name)
		for lun, want := range []byte{1, 2} {
			if fill, class := a.read(t, uint16(lun)); fill != want || class != backends.OK {
				t.Errorf("after %s LUN %d has %d, %v", tt.name, lun, fill, class)
			}
		}
	}
	if res := extendedCopy(first, second); !res.OK() {
		t.Errorf("a copy between its own: %+v", res)
	}
	if fill, class := a.read(t, 1); fill != 1 || class != backends.OK {
		t.Errorf("a copy between its own has brought %d, %v", fill, class)
	}
}

// copyTarget names a unit by its NAA designator.
func copyTarget(t *testing.T, v *visitor, lun uint16) scsi.CopyTarget {
	t.Helper()
	page, res := v.do(t, lun, scsi.Inquiry{VPD: true, Page: scsi.PageIdentification, AllocationLength: 512}, 512, nil)
	list, err := scsi.DecodeDesignators(nil, page)
	i := slices.IndexFunc(list, func(d scsi.Designator) bool {
		return d.Type == scsi.DesignatorNAA && d.Association == scsi.OfUnit
	})
	if err != nil || i < 0 {
		t.Fatalf("LUN %d: page 83h: %+v, %v, %+v", lun, res, err, list)
	}
	return scsi.CopyTarget{Designator: list[i], BlockSize: 512}
}

// TestP14Exports: over NBD, which knows no users, the exports are the disks and nothing
// else, and the socket is open to the gateway's user and group only.
func TestP14Exports(t *testing.T) {
	g, _ := startMapped(t)
	info, err := os.Stat(g.Path("nbd.sock"))
	if err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	list, err := nbdclient.List(t.Context(), g.NBD())
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"vm1/data", "vm1/root", "vm2/root"}, names); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, name := range []string{
		"", "vm1", "root", "vm2/data", "vm1/../vm2/root", "vm1/root/", "vm1/root\x00", "/vm1/root", g.Path("config.yaml"), "vmhba0:0:1",
	} {
		if e, err := nbdclient.Info(t.Context(), g.NBD(), name); err == nil {
			t.Errorf("export %q: %+v", name, e)
		}
		if c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: g.NBD(), Export: name}); err == nil {
			c.Close()
			t.Errorf("export %q is opened", name)
		}
	}
	run(t, false, "nbdinfo", g.URI("vm1/none"))
	own := g.Connect(t, "vm1/root")
	if _, err := own.WriteAt([]byte(strings.Repeat("a", 512)), 0); err != nil {
		t.Error(err)
	}
	if _, err := own.ReadAt(make([]byte, 512), own.Size()); err == nil {
		t.Error("what lies behind the disk is read")
	}
	other := make([]byte, 512)
	if _, err := g.Connect(t, "vm2/root").ReadAt(other, 0); err != nil || !slices.Equal(other, make([]byte, 512)) {
		t.Errorf("the other VM's disk: %v, %q", err, other[:8])
	}
}
