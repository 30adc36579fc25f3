// SPDX-License-Identifier: Apache-2.0

//go:build integration

package hosts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	secret  = "alice-and-the-gateway"
	mutual  = "the-gateway-and-alice"
	hostIQN = "iqn.2026-11.test:host"
)

// secretFile holds a secret.
func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenISCSI: Linux' initiator discovers what it may see, is let in by secrets both
// ways, and keeps a file system on a disk whose paths are cut behind the gateway.
func TestOpenISCSI(t *testing.T) {
	a := newArray(t, tgtd.LUN{SizeBytes: 64 * mib, Thin: true})
	small := func(vm, iscsi string) string {
		return `{name: ` + vm + `, iscsi: ` + iscsi + `, disks: [{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}]}`
	}
	g, portals := start(t, gate.Config{
		Targets: []gate.Target{a.target},
		Rules:   []string{`{id: "*", all-paths-down: queue, cache: protected, selector: round-robin}`}, // each cut meets requests
		VM: `{initiators: ["` + hostIQN + `"], chap: {user: alice, secret-file: "` + secretFile(t, secret) +
			`", mutual: {user: pathgate, secret-file: "` + secretFile(t, mutual) + `"}}}`,
		VMs: []string{
			small("open", `{initiators: ["`+hostIQN+`"]}`),
			small("other", `{initiators: ["iqn.2026-11.test:other"]}`),
			small("bob", `{chap: {user: bob, secret-file: "`+secretFile(t, secret)+`"}}`),
		},
	}, 2)
	g.WaitUp(t, 4, time.Minute)
	available(t, g, 4)
	h := boot(t, options{name: hostIQN})

	t.Run("discovery", func(t *testing.T) { discover(t, h, portals) })
	t.Run("login", func(t *testing.T) { login(t, h, g, portals[0]) })
	if t.Failed() {
		return
	}
	t.Run("cuts", func(t *testing.T) { cutUnderFiles(t, h, g, a) })
	h.run(t, "iscsiadm -m node -T %s -p %s --logout", vm1, portals[0])
	nobody(t, g)
	h.clean(t) // of lost connections too: the cuts were behind the gateway
}

// sees checks which targets a discovery tells, at every portal.
func sees(t *testing.T, out string, portals []string, vms string) {
	t.Helper()
	for _, vm := range []string{"vm1", "open", "other", "bob"} {
		for i, p := range portals {
			line := p + "," + string(rune('1'+i)) + " " + prefix + vm + "\n"
			if strings.Contains(out, line) != strings.Contains(" "+vms+" ", " "+vm+" ") {
				t.Errorf("%q: told or not against the rule:\n%s", line, out)
			}
		}
	}
}

// discover asks for targets without a secret, with a wrong one, and as it is documented.
func discover(t *testing.T, h *host, portals []string) {
	ask := "iscsiadm -m discovery -t sendtargets -p " + portals[0]
	sees(t, h.run(t, "%s", ask), portals, "open")
	const ( // of open-iscsi
		refused  = 24 // ISCSI_ERR_LOGIN_AUTH_FAILED
		unproved = 19 // ISCSI_ERR_FATAL_LOGIN: the target's answer is not what the secret gives
	)
	commands := func(alice, gateway string) string {
		return "cp /etc/iscsi/iscsid.conf /run/iscsid.conf\n" + documented(t, "Log in", "192.0.2.1:3260", portals[0],
			"alices-secret", alice, "gateways-secret", gateway)
	}
	const back = "\ncp /run/iscsid.conf /etc/iscsi/iscsid.conf\nexit $n\n"
	settings := func(alice, gateway string) string {
		text, _, _ := strings.Cut(commands(alice, gateway), "iscsiadm")
		return text + ask + "\nn=$?" + back
	}
	h.status(t, refused, settings("not-what-alice-says", mutual))
	demand(t, h.status(t, unproved, settings(secret, "not-the-gateways-word")), "incorrect CHAP response from target")
	sees(t, h.status(t, 0, settings(secret, mutual)), portals, "vm1 open")
	// Secrets of a target that is known are those of when it was discovered.
	set := "iscsiadm -m node -T " + vm1 + " -p " + portals[0] + " -o update -n node.session.auth."
	into := "iscsiadm -m node -T " + vm1 + " -p " + portals[0] + " --login"
	h.status(t, refused, set+"password -v not-what-alice-says\n"+into)
	h.status(t, unproved, set+"password -v "+secret+"\n"+set+"password_in -v not-the-gateways-word\n"+into)
	h.run(t, "rm -r /etc/iscsi/nodes/* /etc/iscsi/send_targets/*; dmesg -c >/dev/null") // which tells of the refused ones
}

// login runs the documented commands, and compares what both ends say of the session.
func login(t *testing.T, h *host, g *gate.Gate, portal string) {
	theirs := h.run(t, "%s", documented(t, "Log in", "192.0.2.1:3260", portal, "alices-secret", secret, "gateways-secret", mutual))
	var list []struct {
		Frontend, Uses, VM, User, Initiator, ISID string
		Keys                                      map[string]string
	}
	out := g.MustCLI(t, "session", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	s := list[0]
	if s.Frontend != "iscsi" || s.Uses != vm1 || s.VM != "vm1" || s.User != "alice" || s.Initiator != hostIQN || s.ISID == "" {
		t.Errorf("session list: %s", out)
	}
	for ours, their := range map[string]string{
		"HeaderDigest": "HeaderDigest", "DataDigest": "DataDigest", "InitialR2T": "InitialR2T", "ImmediateData": "ImmediateData",
		"MaxSendDataSegmentLength": "MaxRecvDataSegmentLength", "MaxRecvDataSegmentLength": "MaxXmitDataSegmentLength",
		"MaxBurstLength": "MaxBurstLength", "FirstBurstLength": "FirstBurstLength", "MaxOutstandingR2T": "MaxOutstandingR2T",
	} {
		demand(t, theirs, "\t"+their+": "+s.Keys[ours]+"\n")
	}
	if s.Keys["HeaderDigest"] != "CRC32C" || s.Keys["DataDigest"] != "CRC32C" {
		t.Errorf("keys %v", s.Keys)
	}
	demand(t, theirs, "username: alice\n", "username_in: pathgate\n", "Attached scsi disk sd")
	demand(t, g.MustCLI(t, "session", "list", "-o", "wide"), "CRC32C", "alice", hostIQN, vm1)
}

// cutUnderFiles writes files while every path is cut in two ways, and finds them all.
func cutUnderFiles(t *testing.T, h *host, g *gate.Gate, a *array) {
	device := h.disk(t, 0)
	h.startFiles(t, device)
	for i, k := range []proxy.Kind{proxy.Reset, proxy.BlackHole, proxy.BlackHole, proxy.Reset} {
		x, other := a.proxies[i%2], a.proxies[1-i%2]
		h.load(t, x)
		mark := g.Events.Mark()
		x.MustSet(proxy.Fault{Kind: k})
		g.Events.Wait(t, mark, patience, gate.Kind("path-down"))
		h.load(t, other)
		x.Clear()
		g.WaitUp(t, 4, patience)
		if x.Counters().Fault(k).Times == 0 {
			t.Errorf("%v met nothing", k)
		}
	}
	h.checkFiles(t, device)
}
