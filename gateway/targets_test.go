// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	target "pathgate/gateway/iscsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

const twoDisks = `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
vms:
  - name: vm1
    disks:
      - {name: root, file: DIR/root, size: 1MiB}
      - {name: data, file: DIR/data, size: 1MiB, read-only: true}
`

// naa is the NAA designator of a LUN, and its serial number.
func (c *iscsiClient) identity(lun uint16) (naa, serial string) {
	c.t.Helper()
	data, res := c.exec(lun, spc.Inquiry{VPD: true, Page: spc.PageIdentification, AllocationLength: 4096}, nil)
	if !res.OK() {
		c.t.Fatalf("VPD 83: %+v", res)
	}
	for _, d := range must[[]spc.Designator](c.t)(spc.DecodeDesignators(nil, data)) {
		if d.Type == spc.DesignatorNAA {
			naa = string(d.Value)
		}
	}
	data, res = c.exec(lun, spc.Inquiry{VPD: true, Page: spc.PageSerialNumber, AllocationLength: 4096}, nil)
	if !res.OK() || naa == "" {
		c.t.Fatalf("VPD 80: %+v, NAA %x", res, naa)
	}
	return naa, must[string](c.t)(spc.DecodeSerialNumber(data))
}

// TestTargetsIdentity: a disk is the same to initiators after a restart, under the same
// number, whatever became of the others.
func TestTargetsIdentity(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, filepath.Join(dir, "data"))
	type identity struct{ naa, serial string }
	see := func(text string) (luns []uint16, ids map[uint16]identity) {
		b := newTargetBed(t, dir, text)
		defer b.stop()
		b.attachMissing()
		c := b.initiator(t, "a", nil)
		if l := c.login(b, "vm1"); l != nil {
			t.Fatal(l.Err)
		}
		defer c.logout()
		ids = map[uint16]identity{}
		for _, lun := range c.luns() {
			c.settle(lun)
			naa, serial := c.identity(lun)
			ids[lun] = identity{naa, serial}
			luns = append(luns, lun)
		}
		return luns, ids
	}
	luns, first := see(twoDisks)
	if diff := cmp.Diff([]uint16{0, 1}, luns); diff != "" || first[0] == first[1] {
		t.Fatalf("%s%v", diff, first)
	}
	onlyData := strings.Replace(twoDisks, "      - {name: root, file: DIR/root, size: 1MiB}\n", "      - {name: new, file: DIR/new, size: 1MiB}\n", 1)
	luns, second := see(onlyData)
	if diff := cmp.Diff([]uint16{1, 2}, luns); diff != "" {
		t.Error(diff)
	}
	if second[1] != first[1] || second[2] == first[0] {
		t.Errorf("was %v, is %v", first, second)
	}
}

// TestTargetsDisk: what a disk is to its initiators.
func TestTargetsDisk(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, filepath.Join(dir, "data"))
	b := newTargetBed(t, dir, strings.NewReplacer(
		"data, size: 1MiB, ", "data, ", "root, size: 1MiB", "root, size: 1MiB, block-size: 4096").Replace(twoDisks))
	b.attachMissing()
	c := b.initiator(t, "a", nil)
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	for _, lun := range c.luns() {
		c.settle(lun)
		data, res := c.exec(lun, spc.ReadCapacity16{AllocationLength: 32}, nil)
		if !res.OK() {
			t.Fatal(res)
		}
		if got := must[spc.Capacity](t)(spc.DecodeCapacity16(data)); got.BlockSize != []uint32{4096, 512}[lun] || got.Blocks*uint64(got.BlockSize) != 1<<20 {
			t.Errorf("LUN %d: %+v", lun, got)
		}
		_, res = c.exec(lun, spc.ReadWrite{Write: true, LBA: 1, Blocks: 1}, make([]byte, []int{4096, 512}[lun]))
		if want := lun == 0; res.OK() != want {
			t.Errorf("LUN %d: write: %+v", lun, res)
		}
	}
	clients := func() int {
		d := b.byName["vm1/root"]
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.clients
	}
	if got := b.vmStats("vm1"); got.Writes != 1 || got.WriteBytes != 4096 || got.Errors != 0 {
		t.Errorf("traffic of the VM: %+v", got)
	}
	if got := (*adminView)(b.Gateway).Disks()[1].LUN; got == nil || *got != 1 {
		t.Errorf("the second disk has the LUN %v", got)
	}
	if got := clients(); got != 1 {
		t.Errorf("%d clients", got)
	}
	c.logout()
	b.stop()
	if got := clients(); got != 0 {
		t.Errorf("%d clients after the logout", got)
	}
	var kinds []string
	for e := range b.bus.Subscribe(t.Context(), 0) {
		if e.Kind == KindClientConnected || e.Kind == KindClientDisconnected {
			kinds = append(kinds, e.Kind.String()+" "+e.VM)
		}
		if e.Kind == KindClientDisconnected {
			break
		}
	}
	if diff := cmp.Diff([]string{"client-connected vm1", "client-disconnected vm1"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// TestTargetsNewDisk: a disk that is found later is told by a unit attention, and a
// login waits for those that are to be waited for.
func TestTargetsNewDisk(t *testing.T) {
	dir := t.TempDir()
	b := newTargetBed(t, dir, strings.Replace(twoDisks, "data, size: 1MiB, ", "data, open: fail, ", 1))
	c := b.initiator(t, "a", nil)
	in := make(chan *backends.Loss)
	go func() { in <- c.login(b, "vm1") }()
	b.attachMissing()
	if l := <-in; l != nil {
		t.Fatal(l.Err)
	}
	if diff := cmp.Diff([]uint16{0}, c.luns()); diff != "" {
		t.Error(diff)
	}
	c.settle(0)
	writeDisk(t, filepath.Join(dir, "data"))
	b.attachMissing()
	if diff := cmp.Diff([]spc.SenseCode{spc.CodeReportedLUNsChanged}, c.settle(0)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint16{0, 1}, c.luns()); diff != "" {
		t.Error(diff)
	}
}

// TestTargetsStopEndsTheWait: an initiator that waits for a disk is sent away by a stop.
func TestTargetsStopEndsTheWait(t *testing.T) {
	b := newTargetBed(t, t.TempDir(), twoDisks)
	stop := make(chan struct{})
	close(stop)
	if b.targets.list[0].waitDisks(stop, time.Minute) {
		t.Error("let in without disks")
	}
}

// TestTargetsLUNConflict: a number of another disk is refused where it is written.
func TestTargetsLUNConflict(t *testing.T) {
	dir := t.TempDir()
	newTargetBed(t, dir, twoDisks).stop()
	g := must[*Gateway](t)(New(mustParse(t, strings.ReplaceAll(strings.Replace(twoDisks, "read-only: true", "lun-id: 0", 1), "DIR", dir)), Options{}))
	g.store = openStore(t, g.cfg.State)
	defer g.store.Close()
	_, err := g.newTargets(t.Context())
	if diff := cmp.Diff([]string{"9 vms[0].disks[1].lun-id"}, faultKeys(t, err)); diff != "" {
		t.Error(diff)
	}
}

// register makes c's registration, which outlives a restart, and reserve its
// reservation.
func (c *iscsiClient) reserve(out spc.PersistentReserveOut, p spc.ReserveParameters) backends.Result {
	c.t.Helper()
	out.ParameterListLength = 24
	_, res := c.exec(0, out, p.Append(nil))
	return res
}

// TestTargetsReservations: a persistent reservation holds for those who come over NBD
// too, and with APTPL after a restart, from the first request on.
func TestTargetsReservations(t *testing.T) {
	dir := t.TempDir()
	writeDisk(t, filepath.Join(dir, "data"))
	b := newTargetBed(t, dir, twoDisks)
	b.attachMissing()
	c := b.initiator(t, "a", nil)
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	c.settle(0)
	const disk, key = "vm1/root", 0xabc
	expect := func(b *targetBed, when string, read, write backends.Class) {
		t.Helper()
		if got := b.outside(t, disk, backends.Read); got != read {
			t.Errorf("%s: read: %v, want %v", when, got, read)
		}
		if got := b.outside(t, disk, backends.Write); got != write {
			t.Errorf("%s: write: %v, want %v", when, got, write)
		}
	}
	expect(b, "free", backends.OK, backends.OK)
	if res := c.reserve(spc.PersistentReserveOut{Action: spc.Register}, spc.ReserveParameters{ActionKey: key, Persist: true}); !res.OK() {
		t.Fatal(res)
	}
	if res := c.reserve(spc.PersistentReserveOut{Action: spc.Reserve, Type: spc.WriteExclusive}, spc.ReserveParameters{Key: key}); !res.OK() {
		t.Fatal(res)
	}
	expect(b, "write exclusive", backends.OK, backends.ReservationConflict)
	c.logout()
	b.stop()

	b = newTargetBed(t, dir, twoDisks)
	if why := b.byName[disk].whyNot(); why == "" {
		t.Error("NBD clients are let in before the reservations are known")
	}
	b.attachMissing()
	if why := b.byName[disk].whyNot(); why != "" {
		t.Errorf("not available: %s", why)
	}
	expect(b, "after a restart", backends.OK, backends.ReservationConflict)
	c = b.initiator(t, "a", nil)
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	c.settle(0)
	for _, step := range []struct {
		when        string
		action      spc.ReserveOutAction
		kind        spc.ReservationType
		read, write backends.Class
	}{
		{"released", spc.Release, spc.WriteExclusive, backends.OK, backends.OK},
		{"exclusive access", spc.Reserve, spc.ExclusiveAccess, backends.ReservationConflict, backends.ReservationConflict},
		{"cleared", spc.Clear, 0, backends.OK, backends.OK},
	} {
		if res := c.reserve(spc.PersistentReserveOut{Action: step.action, Type: step.kind}, spc.ReserveParameters{Key: key}); !res.OK() {
			t.Fatalf("%s: %+v", step.when, res)
		}
		expect(b, step.when, step.read, step.write)
	}
}

const accessConfig = `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
vms:
  - {name: free, iscsi: {initiators: ["iqn.2026-11.test:a", "iqn.2026-11.test:x"]}, disks: [{name: d, file: DIR/free, size: 1MiB}]}
  - {name: named, iscsi: {initiators: ["iqn.2026-11.test:a", 127.0.0.0/8]}, disks: [{name: d, file: DIR/named, size: 1MiB}]}
  - {name: elsewhere, iscsi: {initiators: [192.0.2.0/24]}, disks: [{name: d, file: DIR/elsewhere, size: 1MiB}]}
  - name: Secret
    iscsi: {chap: {user: alice, secret-file: DIR/alice, mutual: {user: gate, secret-file: DIR/gate}}}
    disks: [{name: d, file: DIR/secret, size: 1MiB}]
`

// TestTargetsAccess: who may log in where, and that discovery tells no more.
func TestTargetsAccess(t *testing.T) {
	dir := t.TempDir()
	for name, secret := range map[string]string{"alice": "alice and the gateway", "gate": "the gateway and alice"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newTargetBed(t, dir, accessConfig)
	b.attachMissing()
	alice := &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte("alice and the gateway"))}
	mutual, wrong, liar := *alice, *alice, *alice
	mutual.MutualUser, mutual.MutualSecret = "gate", wire.NewSecret([]byte("the gateway and alice"))
	wrong.Secret = wire.NewSecret([]byte("not what alice says"))
	liar.MutualUser, liar.MutualSecret = "gate", wire.NewSecret([]byte("not what the gateway says"))
	for _, tt := range []struct {
		name, initiator string
		chap            *iscsi.CHAP
		sees            []string // nil: discovery is refused
		enters          []string
	}{
		{"one who is let in by name", "x", nil, []string{"free"}, []string{"free"}},
		{"one that is named", "a", nil, []string{"free", "named"}, []string{"free", "named"}},
		{"nobody where all want a secret", "u", nil, nil, nil},
		{"a user", "u", alice, []string{"secret"}, []string{"secret"}},
		{"a user who asks for proof", "u", &mutual, []string{"secret"}, []string{"secret"}},
		{"a wrong secret", "u", &wrong, nil, nil},
		{"a user who knows another gateway", "u", &liar, nil, nil},
		{"a user who finds what needs none", "x", alice, []string{"free"}, []string{"secret"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := b.initiator(t, tt.initiator, tt.chap)
			names, err := c.names(b)
			if diff := cmp.Diff(tt.sees, names); diff != "" || (err == nil) != (tt.sees != nil) {
				t.Errorf("%v %s", err, diff)
			}
			var in []string
			for _, vm := range []string{"free", "named", "elsewhere", "secret", "unknown"} {
				if tt.chap != nil && vm != "secret" {
					continue // our initiator insists on what it was given
				}
				if c.login(b, vm) == nil {
					in = append(in, vm)
				}
				c.logout()
			}
			if diff := cmp.Diff(tt.enters, in); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTargetsSecretRotation: a new secret counts from the next login on, and nobody is
// logged out for it; one that cannot be read lets nobody in.
func TestTargetsSecretRotation(t *testing.T) {
	b := chapBed(t)
	file := b.cfg.VMs[0].ISCSI.CHAP.Secret.File
	user := func(secret string) *iscsiClient {
		return b.initiator(t, "a", &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte(secret))})
	}
	old, young := user("alice and the gateway"), user("a secret that is new")
	young.isid = 1
	if l := old.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	if young.login(b, "vm1") == nil {
		t.Fatal("let in too early")
	}
	young.logout()
	if err := os.WriteFile(file, []byte("a secret that is new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := young.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	young.logout()
	old.settle(7)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if l := young.login(b, "vm1"); l == nil || l.Class != backends.LossRefused {
		t.Errorf("with a file that anyone can read: %+v", l)
	}
	old.settle(7)
}

// TestTargetsDiscovery: a user is told the targets of that user, beside those that are
// for everyone.
func TestTargetsDiscovery(t *testing.T) {
	dir := t.TempDir()
	secrets := map[string]string{"alice": "alice and the gateway", "bob": "bob and the gateway", "gate": "the gateway, to others"}
	for name, secret := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const mutual = "mutual: {user: gate, secret-file: DIR/gate}"
	b := newTargetBed(t, dir, `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260"]}
vms:
  - {name: vm1, iscsi: {chap: {user: alice, secret-file: DIR/alice, `+mutual+`}}, disks: [{name: d, file: DIR/1}]}
  - {name: vm2, iscsi: {chap: {user: bob, secret-file: DIR/bob, `+mutual+`}}, disks: [{name: d, file: DIR/2}]}
  - {name: vm3, iscsi: {chap: {user: alice, secret-file: DIR/alice}, initiators: ["iqn.2026-11.test:a"]}, disks: [{name: d, file: DIR/3}]}
  - {name: vm4, iscsi: {initiators: ["iqn.2026-11.test:open"]}, disks: [{name: d, file: DIR/4}]}
  - {name: vm5, iscsi: {chap: {user: bob, secret-file: DIR/bob, mutual: {user: other, secret-file: DIR/gate}}, initiators: ["iqn.2026-11.test:b"]}, disks: [{name: d, file: DIR/5}]}
`)
	for _, tt := range []struct {
		initiator, user string
		required        bool
		ours            string // the name that we prove ourselves by
		sees            []string
	}{
		{"x", "alice", true, "gate", []string{"vm1"}},
		{"x", "bob", true, "gate", []string{"vm2"}},
		{"a", "alice", true, "gate", []string{"vm1", "vm3"}},
		{"b", "alice", true, "gate", []string{"vm1"}},
		{"b", "bob", true, "", []string{"vm2", "vm5"}}, // which of the two is not known
		{"open", "alice", false, "gate", []string{"vm1", "vm4"}},
		{"open", "", false, "", []string{"vm4"}},
		{"x", "carol", true, "", nil},
	} {
		p := &target.Peer{Initiator: "IQN.2026-11.test:" + tt.initiator}
		set, err := b.targets.Authentication(p, "")
		if err != nil || set.Required != tt.required {
			t.Fatalf("%s: %v, required %v", tt.initiator, err, set.Required)
		}
		if ours := set.Own(tt.user); ours.Name != tt.ours || ours.Secret.Empty() != (tt.ours == "") {
			t.Errorf("%s as %q: we are %q", tt.initiator, tt.user, ours.Name)
		}
		secret, ok := set.Lookup(tt.user)
		if want := secrets[tt.user]; ok != (want != "") || ok && !secret.Equal(wire.NewSecret([]byte(want))) {
			t.Errorf("%s: the secret of %q is not known", tt.initiator, tt.user)
		}
		if ok {
			p.User = tt.user
		}
		var names []string
		for _, n := range b.targets.List(p) {
			names = append(names, strings.TrimPrefix(n, "iqn.2026-11.internal.pathgate:"))
		}
		if diff := cmp.Diff(tt.sees, names); diff != "" {
			t.Errorf("%s as %q: %s", tt.initiator, tt.user, diff)
		}
	}
}

// TestTargetsSecretMustBeUsable: a secret that no initiator could use is found at the start.
func TestTargetsSecretMustBeUsable(t *testing.T) {
	for name, secrets := range map[string][2]string{
		"too short": {"short", "the gateway and alice"},
		"the other": {"alice and the gateway", "short"},
		"the same":  {"alice and the gateway", "alice and the gateway"},
		"too long":  {strings.Repeat("x", 256), "the gateway and alice"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, file := range []string{"alice", "gate"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(secrets[i]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g := must[*Gateway](t)(New(mustParse(t, strings.ReplaceAll(accessConfig, "DIR", dir)), Options{}))
			g.store = openStore(t, g.cfg.State)
			defer g.store.Close()
			if _, err := g.newTargets(t.Context()); err == nil || !strings.Contains(err.Error(), "vms[3].iscsi.chap") {
				t.Errorf("got %v", err)
			} else if errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}
