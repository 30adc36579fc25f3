// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package hosts

import (
	"strings"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestLongMultipath: dm-multipath in a guest makes one map of a disk at two portals, and
// has another path in use while one is cut, without an error of the file system.
func TestLongMultipath(t *testing.T) {
	g, portals := start(t, gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 64MiB}`}}, 2)
	available(t, g, 1)
	var proxies []*proxy.Proxy
	for _, p := range portals {
		proxies = append(proxies, proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1}))
	}
	h := boot(t, options{modules: []string{"dm-multipath", "dm-service-time", "dm-round-robin", "scsi_dh_alua"}})
	h.run(t, "%s", documented(t, "Several portals", "192.0.2.1:3260", proxies[0].Addr(), "192.0.2.2:3260", proxies[1].Addr()))
	wait := func(active, failed int) {
		t.Helper()
		h.run(t, `state() {
	[ "$(dmsetup status --target multipath | grep -o ' 8:[0-9]* A ' | wc -l)" = %d ] || return 1
	[ "$(dmsetup status --target multipath | grep -o ' 8:[0-9]* F ' | wc -l)" = %d ] || return 1
}
again state`, active, failed)
	}
	wait(2, 0)
	one := h.run(t, `cat /sys/block/sd*/device/wwid | sort -u; dmsetup info -c --noheadings -o uuid; dmsetup info -c --noheadings -o name`)
	ids := strings.Fields(one)
	if len(ids) != 3 || "mpath-3"+strings.TrimPrefix(ids[0], "naa.") != ids[1] {
		t.Fatalf("not one map of one disk: %s", one)
	}
	device := "/dev/mapper/" + ids[2]
	// Each path has the host's key: whichever is used, the disk is this host's.
	out := h.run(t, `for d in /sys/block/sd*; do
	sg_persist --out --register-ignore --param-sark=0xa1 --param-aptpl "/dev/${d##*/}"
done
sg_persist --out --reserve --param-rk=0xa1 --prout-type=5 %s
sg_persist --in --read-full-status %s`, device, device)
	if strings.Count(out, "Key=0xa1") != 2 || strings.Count(out, "Reservation holder") != 1 {
		t.Errorf("registered: %s", out)
	}
	nbd := g.Connect(t, "vm1/root")
	if _, err := nbd.WriteAt(make([]byte, 512), 0); err == nil {
		t.Error("another client writes what the host has reserved")
	}
	h.startFiles(t, device)
	for i, k := range []proxy.Kind{proxy.Refuse, proxy.BlackHole} {
		x := proxies[i]
		h.load(t, x)
		x.MustSet(proxy.Fault{Kind: k})
		if k == proxy.Refuse && x.ResetConns() != 1 {
			t.Error("there is no connection to reset")
		}
		wait(1, 1)
		h.load(t, proxies[1-i])
		x.Clear()
		wait(2, 0)
	}
	h.checkFiles(t, device)
	if out := h.run(t, "complaints | grep -E 'dm-|EXT4|JBD2|Call Trace|onflict' || true"); out != "" {
		t.Errorf("the file system saw it:\n%s", out)
	}
	demand(t, h.run(t, "complaints"), "conn error") // it does tell what is wrong
	h.run(t, `sg_persist --out --clear --param-rk=0xa1 %s
multipathd shutdown
dmsetup remove --retry %s
iscsiadm -m node -T %s --logout`, device, ids[2], vm1)
	if err := nbd.Close(); err != nil {
		t.Error(err)
	}
	nobody(t, g)
}
