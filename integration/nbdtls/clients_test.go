// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtls

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/certs"
	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with a listener that requires TLS and one without, and a CA.
type bed struct {
	*gate.Gate
	ca         *certs.Authority
	tls, plain string // ip:port
}

const config = `
state: DIR/state
control: unix:DIR/control.sock
nbd:
  listen:
    - {address: "TLS", tls: required, certificate-file: DIR/cert.pem, key-file: DIR/key.pem, client-ca-file: DIR/ca.pem}
    - PLAIN
vms:
  - {name: vm1, nbd: {certificates: [host1]}, disks: [{name: root, file: DIR/vm1.img, size: 8MiB}]}
  - {name: vm2, nbd: {certificates: [host2]}, disks: [{name: root, file: DIR/vm2.img, size: 8MiB}]}
  - {name: vm3, disks: [{name: root, file: DIR/vm3.img, size: 8MiB}]}
`

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Gate: gate.Make(t, gate.Config{}), ca: certs.New(t, "test CA"), tls: freePort(t), plain: freePort(t)}
	b.ca.Write(b.ca.Server("localhost"), b.Path("cert.pem"), b.Path("key.pem"))
	b.ca.WriteCA(b.Path("ca.pem"))
	b.configure(t, strings.NewReplacer("DIR", b.Path(""), "TLS", b.tls, "PLAIN", b.plain).Replace(config))
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) configure(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(b.Path("config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// uri is an export for libnbd.
func (b *bed) uri(dir, export string) string {
	return fmt.Sprintf("nbds://%s/%s?tls-certificates=%s", b.tls, export, dir)
}

// run runs a client and gives what it says.
func run(t *testing.T, prog string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, prog, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %s does not end:\n%s", prog, strings.Join(args, " "), out)
	}
	return string(out), err
}

func must(t *testing.T, prog string, args ...string) string {
	t.Helper()
	out, err := run(t, prog, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", prog, strings.Join(args, " "), err, out)
	}
	return out
}

// image makes a file of random bytes.
func image(t *testing.T) (path string, data []byte) {
	t.Helper()
	path, data = filepath.Join(t.TempDir(), "image"), make([]byte, 8<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, data
}

// qemu gives the options that QEMU's tools open an export with.
func (b *bed) qemu(dir, export string) []string {
	host, port, _ := strings.Cut(b.tls, ":")
	return []string{
		"--object", "tls-creds-x509,id=pathgate-tls,endpoint=client,dir=" + dir,
		"--image-opts", fmt.Sprintf("driver=nbd,host=%s,port=%s,export=%s,tls-creds=pathgate-tls", host, port, export),
	}
}

func TestClients(t *testing.T) {
	b := newBed(t)
	host1 := b.ca.Client("host1")
	dir := b.ca.ClientDir(&host1)

	t.Run("nbdinfo", func(t *testing.T) {
		out := must(t, "nbdinfo", b.uri(dir, "vm1/root"))
		if !strings.Contains(out, "TLS") || !strings.Contains(out, "8388608") {
			t.Errorf("got\n%s", out)
		}
		out = must(t, "nbdinfo", "--list", "nbds://"+b.tls+"/?tls-certificates="+dir)
		if !strings.Contains(out, "vm1/root") || strings.Contains(out, "vm2/root") || !strings.Contains(out, "vm3/root") {
			t.Errorf("got\n%s", out)
		}
		if out, err := run(t, "nbdinfo", b.uri(dir, "vm2/root")); err == nil {
			t.Errorf("the disk of another:\n%s", out)
		}
	})
	t.Run("nbdcopy", func(t *testing.T) {
		path, want := image(t)
		must(t, "nbdcopy", path, b.uri(dir, "vm1/root"))
		must(t, "nbdcopy", b.uri(dir, "vm1/root"), path+".back")
		if got, err := os.ReadFile(path + ".back"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what comes back differs: %v", err)
		}
	})
	t.Run("qemu-img and qemu-io", func(t *testing.T) {
		path, want := image(t)
		opts := b.qemu(dir, "vm1/root")
		must(t, "qemu-img", "convert", opts[0], opts[1], "-n", "-f", "raw", "--target-image-opts", path, opts[3])
		must(t, "qemu-img", "convert", opts[0], opts[1], "--image-opts", opts[3], "-O", "raw", path+".back")
		if got, err := os.ReadFile(path + ".back"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("what comes back differs: %v", err)
		}
		out := must(t, "qemu-io", append([]string{"-c", "write -P 7 1M 1M", "-c", "flush", "-c", "read -P 7 1M 1M", "-c", "aio_read 0 4M", "-c", "aio_read 4M 4M", "-c", "aio_flush"}, opts...)...)
		if strings.Contains(out, "rror") || strings.Contains(out, "failed") {
			t.Errorf("got\n%s", out)
		}
	})
	t.Run("a session is shown", func(t *testing.T) {
		c, err := nbdDial(t, b, &host1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Info(nbdclient.OptGo, "vm1/root"); err != nil {
			t.Fatal(err)
		}
		out := b.MustCLI(t, "session", "list", "-o", "wide")
		if !strings.Contains(out, " host1 ") || !strings.Contains(out, " TLS 1.3 ") {
			t.Errorf("got\n%s", out)
		}
		if out := b.MustCLI(t, "attach", "vm1", "--qemu"); !strings.Contains(out, `"tls-creds":"pathgate-tls"`) || strings.Contains(out, b.plain) {
			t.Errorf("got\n%s", out)
		}
	})
}

// nbdDial begins TLS from Go.
func nbdDial(t *testing.T, b *bed, cert *tls.Certificate) (*nbdclient.Raw, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := nbdclient.DialRaw(ctx, b.tls)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { r.Close() })
	if _, err := r.Greet(); err != nil {
		return nil, err
	}
	if _, err := r.Ask(nbdclient.OptStartTLS, nil); err != nil {
		return nil, err
	}
	return &nbdclient.Raw{Conn: tls.Client(r.Conn, &tls.Config{RootCAs: b.ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{*cert}})}, nil
}

// Clients that must not get in, and one that does in between, so that it is not for
// another reason.
func TestRefusedClients(t *testing.T) {
	b := newBed(t)
	other := certs.New(t, "other CA")
	good, foreign := b.ca.Client("host1"), other.Client("host1")
	expired := b.ca.Issue(certs.Spec{Name: "host1", Client: true, NotAfter: time.Now().Add(-time.Hour)})
	mixed := b.ca.ClientDir(&foreign) // trusts us, shows what another has signed
	dir := b.ca.ClientDir(&good)
	plain := strings.Replace(b.uri(dir, "vm3/root"), b.tls, b.plain, 1)
	for name, uri := range map[string]string{
		"no certificate":         b.uri(b.ca.ClientDir(nil), "vm3/root"),
		"another CA's":           b.uri(mixed, "vm3/root"),
		"expired":                b.uri(b.ca.ClientDir(&expired), "vm3/root"),
		"trusts another CA":      b.uri(other.ClientDir(&good), "vm3/root"),
		"plain text on required": "nbd://" + b.tls + "/vm3/root",
		"TLS on off":             plain,
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := run(t, "nbdinfo", uri); err == nil {
				t.Errorf("%s is served:\n%s", uri, out)
			}
			must(t, "nbdinfo", b.uri(dir, "vm3/root"))
			must(t, "nbdinfo", "nbd://"+b.plain+"/vm3/root")
		})
	}
	for name, d := range map[string]string{"no certificate": b.ca.ClientDir(nil), "another CA's": mixed} {
		t.Run("QEMU, "+name, func(t *testing.T) {
			if out, err := run(t, "qemu-img", append([]string{"info"}, b.qemu(d, "vm3/root")...)...); err == nil {
				t.Errorf("served:\n%s", out)
			}
			must(t, "qemu-img", append([]string{"info"}, b.qemu(dir, "vm3/root")...)...)
		})
	}
}

// A renewed certificate is used by the next client; a client that is there stays.
func TestRenewedCertificate(t *testing.T) {
	b := newBed(t)
	host1 := b.ca.Client("host1")
	old, err := nbdDial(t, b, &host1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Info(nbdclient.OptInfo, "vm1/root"); err != nil {
		t.Fatal(err)
	}
	next := certs.New(t, "next CA")
	next.Write(next.Server("localhost"), b.Path("cert.pem"), b.Path("key.pem"))
	if out, err := run(t, "nbdinfo", b.uri(b.ca.ClientDir(&host1), "vm1/root")); err == nil {
		t.Errorf("the certificate before is still used:\n%s", out)
	}
	mixed := next.ClientDir(&host1) // trusts the next CA; ours still signs clients
	must(t, "nbdinfo", b.uri(mixed, "vm1/root"))
	if _, err := old.List(); err != nil {
		t.Errorf("the client that was there: %v", err)
	}
}

// B55: a client that wants to negotiate TLS anew is disconnected.
func TestB55Renegotiation(t *testing.T) {
	b := newBed(t)
	host1 := b.ca.Client("host1")
	dir := b.ca.ClientDir(&host1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan error, 1)
	go func() { ended <- splice(t.Context(), ln, b.tls) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", "s_client", "-connect", ln.Addr().String(), "-tls1_2", "-CAfile", filepath.Join(dir, "ca-cert.pem"),
		"-cert", filepath.Join(dir, "client-cert.pem"), "-key", filepath.Join(dir, "client-key.pem"), "-verify_return_error")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "R\n"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // with whatever status
	if ctx.Err() != nil || !strings.Contains(out.String(), "RENEGOTIATING") || strings.Count(out.String(), "Verification: OK") != 1 {
		t.Errorf("got\n%s", out.String())
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	in.Close()
	if !gate.Poll(time.Minute, func() bool { return !strings.Contains(b.MustCLI(t, "session", "list"), "nbd") }) {
		t.Errorf("still there:\n%s", b.MustCLI(t, "session", "list"))
	}
}

// splice joins a client that knows nothing of NBD to the server behind STARTTLS.
func splice(ctx context.Context, ln net.Listener, addr string) error {
	client, err := ln.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := nbdclient.DialRaw(ctx, addr)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Greet(); err != nil {
		return err
	}
	if _, err := r.Ask(nbdclient.OptStartTLS, nil); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(r.Conn, client) }()
	_, _ = io.Copy(client, r.Conn)
	return nil
}
