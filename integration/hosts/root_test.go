// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package hosts

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"strings"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
)

//go:embed rootinit.sh
var rootInit string

//go:embed root.sh
var rootScript string

// TestLongRootDisk: a guest has its root file system on a disk of the gateway, which is
// killed and started while it runs, and after a reboot it has what it wrote.
func TestLongRootDisk(t *testing.T) {
	c := gate.Config{
		VM:    `{chap: {user: alice, secret-file: "` + secretFile(t, secret) + `"}}`,
		Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 256MiB}`},
	}
	g, portals := start(t, c, 1)
	available(t, g, 1)
	install(t, portals[0])

	tree, _, err := guest.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(portals[0])
	if err != nil {
		t.Fatal(err)
	}
	v := guest.New(t, guest.Options{
		Modules: hostModules, Trees: []string{tree}, Network: true, Reboots: 1, MemoryMB: 512, Timeout: patience,
		Append: "net.ifnames=0 rdinit=/rootinit",
		Files: map[string]string{
			"/rootinit": rootInit, "/lib.sh": library,
			"/etc/passwd":                    "root:x:0:0:root:/root:/bin/sh\n", // iscsid listens to root by name
			"/etc/iscsi/initiatorname.iscsi": "InitiatorName=" + hostIQN + "\n",
			"/login.sh":                      documented(t, "A disk as root file system", "iqn.1994-05.example:vm1", hostIQN, "192.0.2.1", "10.0.2.2", "3260", port, "alices-secret", secret),
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := v.WaitOutput(ctx, "ready"); err != nil {
		t.Fatal(err)
	}
	g.Kill()
	if err := v.Send("while-the-gateway-is-gone"); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := v.Wait(ctx)
	if err != nil || r.ExitCode != 0 || r.Boots != 2 {
		t.Fatalf("%v: %+v", err, r)
	}
	demand(t, r.Output, "early: OK", "while-the-gateway-is-gone: OK", "late: OK", "sums 3\n")
	if _, after, _ := strings.Cut(r.Output, "sums 3\n"); after != "" {
		t.Errorf("the kernel complains: %s", after)
	}
}

// install makes a root file system on the disk, of what a host has.
func install(t *testing.T, portal string) {
	t.Helper()
	h := boot(t, options{files: map[string]string{"/root.script": rootScript}})
	h.run(t, "%s", fmt.Sprintf(`cat >>/etc/iscsi/iscsid.conf <<END
node.session.auth.authmethod = CHAP
node.session.auth.username = alice
node.session.auth.password = %s
END
iscsiadm -m node -o new -T %s -p %s
iscsiadm -m node -T %s --login`, secret, vm1, portal, vm1))
	d := h.disk(t, 0)
	h.run(t, `mkfs.ext4 -q -O metadata_csum %s
mount -t ext4 %s /mnt
cp -a /bin /sbin /usr /lib /lib64 /etc /init /lib.sh /mnt
mkdir -p /mnt/proc /mnt/sys /mnt/dev /mnt/tmp /mnt/run /mnt/mnt /mnt/root /mnt/var/lib
rm -rf /mnt/etc/iscsi/nodes /mnt/etc/iscsi/send_targets
cp /root.script /mnt/init.script
umount /mnt
e2fsck -fn %s
iscsiadm -m node -T %s --logout`, d, d, d, vm1)
}
