// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pathgate/integration/certs"
	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// newSecureBed has a listener with TLS, required or optional, and gives a host's files.
func newSecureBed(t *testing.T, mode string) (*bed, map[string]string) {
	t.Helper()
	ca := certs.New(t, "test CA")
	client := ca.Client("host1.example")
	files := map[string]string{}
	dir := ca.ClientDir(&client)
	for _, name := range []string{"ca-cert.pem", "client-cert.pem", "client-key.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files["/tls/"+name] = string(b)
	}
	return newBedWith(t, func(b *bed, c *gate.Config, at string) {
		in := func(name string) string { return filepath.Join(b.dir, name) }
		ca.Write(ca.Server("gateway.example"), in("cert.pem"), in("key.pem"))
		ca.WriteCA(in("ca.pem"))
		c.TCP = fmt.Sprintf("{address: %q, tls: %s, certificate-file: %s, key-file: %s, client-ca-file: %s}", at, mode, in("cert.pem"), in("key.pem"), in("ca.pem"))
	}), files
}

// TestLongAttachTLS: a device over TLS lives through the loss of a path, of all connections
// and of the process that encrypts, and a restart of the gateway.
func TestLongAttachTLS(t *testing.T) {
	b, files := newSecureBed(t, "required")
	h := bootWith(t, files)
	server, port := b.server(t)
	plain := "vm1/root --nbd-device /dev/nbd0 --timeout 3s --server " + server + ":" + port
	demand(t, h.status(t, 1, "pathgate attach "+plain+" 2>&1"), "the server wants TLS", "give --tls-certificates")
	demand(t, h.status(t, 1, "pathgate attach "+plain+" --tls-certificates /tls 2>&1"), "certificate is valid for 127.0.0.1, ::1, not 10.0.2.2")
	command := plain + " --tls-certificates /tls --tls-hostname gateway.example"
	h.run(t, "attach %s", command)
	b.clients(t, 4)
	demand(t, b.MustCLI(t, "session", "list", "-o", "wide"), " host1.example ", " TLS 1.3 ")
	demand(t, h.run(t, `for s in /proc/$(cat /run/attach/pid)/task/*/stat; do echo "flusher: $((($(cut -d ' ' -f 9 $s) & 0x80000) != 0))"; done | sort -u`), "flusher: 1\n")

	h.run(t, "files start /dev/nbd0\nmore 2")
	b.paths[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	h.run(t, "more 2")
	b.paths[0].Clear()
	b.door.ResetConns()
	h.run(t, "more 2")
	b.restart(t)
	h.run(t, "more 2")
	h.run(t, "kill -9 $(cat /run/attach/pid)\nagain test -e /run/attach/ended")
	b.clients(t, 0)
	h.run(t, "attach %s\nmore 2", command)
	b.clients(t, 4)
	h.run(t, "kill $(cat /run/attach/pid)\nagain test -e /run/attach/ended\ntest ! -e /run/attach/status")
	demand(t, h.run(t, "cat /run/attach/log"), "/dev/nbd0 is in use", "has no connection now: requests wait for 5m0s")
	h.run(t, "attach %s --detach\nmore 2", command)
	h.checkFiles(t, "/dev/nbd0")
	h.run(t, "pathgate detach /dev/nbd0\nagain test -e /run/attach/ended")
	b.clients(t, 0)

	// nbd-client hands data on by processes of its own.
	h.run(t, `nbd-client %s %s /dev/nbd1 -N vm1/root -cacertfile /tls/ca-cert.pem -certfile /tls/client-cert.pem -keyfile /tls/client-key.pem -tlshostname gateway.example >/run/nbd-client 2>&1
again test -s /sys/block/nbd1/pid
files start /dev/nbd1
more 2`, server, port)
	h.checkFiles(t, "/dev/nbd1")
	h.run(t, "nbd-client -d /dev/nbd1")
	b.clients(t, 0)
}
