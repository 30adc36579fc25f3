// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtls

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/gate"
)

const activated = `
state: DIR/state
control: unix:DIR/control.sock
nbd: {listen: ["systemd:nbd"]}
iscsi: {listen: ["systemd:iscsi"]}
vms: [{name: vm1, disks: [{name: root, file: DIR/vm1.img, size: 8MiB}]}]
`

// The first client starts the gateway, which serves it over the sockets that it was
// passed: two for NBD and one for iSCSI.
func TestSocketActivation(t *testing.T) {
	nbd, iscsi := freePort(t), freePort(t)
	start := func(t *testing.T, names string) (g *gate.Gate, log *bytes.Buffer, exited chan error) {
		g = gate.Make(t, gate.Config{})
		b := &bed{Gate: g}
		b.configure(t, strings.ReplaceAll(activated, "DIR", g.Path("")))
		cmd := exec.Command("systemd-socket-activate", "-l", nbd, "-l", iscsi, "-l", g.Path("nbd.sock"),
			"--fdname="+names, gate.Binary(t), "serve", "-c", g.Path("config.yaml"))
		log = &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited = make(chan error, 1)
		go func() { exited <- cmd.Wait() }()
		stopped := false
		t.Cleanup(func() {
			if stopped {
				return
			}
			stopped = true
			_ = cmd.Process.Kill() // it may have ended
			<-exited
			if t.Failed() {
				t.Log(log.String())
			}
		})
		return g, log, exited
	}
	t.Run("serves", func(t *testing.T) {
		g, _, exited := start(t, "nbd:iscsi:nbd")
		last := ""
		if !gate.Poll(time.Minute, func() bool { // its sockets are there a moment later than it
			out, err := run(t, "nbdinfo", "nbd://"+nbd+"/vm1/root")
			last = out
			return err == nil
		}) {
			t.Fatal(last)
		}
		must(t, "nbdinfo", g.URI("vm1/root"))
		if out := must(t, "iscsi-ls", "iscsi://"+iscsi); !strings.Contains(out, "iqn.2026-11.internal.pathgate:vm1") {
			t.Errorf("got %s", out)
		}
		if out := g.MustCLI(t, "attach", "vm1", "--linux"); !strings.Contains(out, "unix:"+g.Path("nbd.sock")) && !strings.Contains(out, strings.ReplaceAll(nbd, ":", " ")) {
			t.Errorf("got\n%s", out)
		}
		select {
		case err := <-exited:
			exited <- err
			t.Errorf("it has ended: %v", err)
		default:
		}
	})
	t.Run("names that do not fit", func(t *testing.T) {
		_, log, exited := start(t, "nbd:other:nbd")
		out, err := run(t, "nbdinfo", "nbd://"+nbd+"/vm1/root") // starts it, perhaps too early
		for err != nil && strings.Contains(out, "refused") {
			out, err = run(t, "nbdinfo", "nbd://"+nbd+"/vm1/root")
			if len(exited) > 0 {
				break
			}
		}
		select {
		case err := <-exited:
			exited <- err
			if err == nil || !strings.Contains(log.String(), "listen on systemd:iscsi: systemd has passed no socket of that name") {
				t.Errorf("%v\n%s", err, log)
			}
		case <-time.After(time.Minute):
			t.Error("it does not end")
		}
	})
}
