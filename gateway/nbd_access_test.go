// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
	"pathgate/integration/certs"
	"pathgate/integration/nbdclient"
)

const certificateConfig = `
state: DIR/state
control: unix:DIR/control
nbd:
  listen:
    - unix:DIR/plain
    - {address: "unix:DIR/tls", certificate-file: DIR/cert.pem, key-file: DIR/key.pem, client-ca-file: DIR/ca.pem}
    - {address: "unix:DIR/any", tls: optional, certificate-file: DIR/cert.pem, key-file: DIR/key.pem, client-ca-file: DIR/ca.pem}
vms:
  - {name: vm1, nbd: {certificates: [host1]}, disks: [{name: root, file: DIR/a, size: 1MiB}]}
  - {name: vm2, nbd: {certificates: [host2, "spiffe://example/host1"]}, disks: [{name: root, file: DIR/b, size: 1MiB}]}
  - {name: vm3, disks: [{name: root, file: DIR/c, size: 1MiB}]}
`

// accessBed runs a whole gateway.
func accessBed(t *testing.T) (dir string, ca *certs.Authority, g *Gateway) {
	t.Helper()
	dir = t.TempDir()
	ca = certs.New(t, "CA")
	ca.Write(ca.Server("localhost"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	ca.WriteCA(filepath.Join(dir, "ca.pem"))
	g = must[*Gateway](t)(New(mustParse(t, strings.ReplaceAll(certificateConfig, "DIR", dir)), Options{}))
	running := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { running <- g.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-running; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-g.Ready():
	case err := <-running:
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for _, d := range g.disks {
		for d.whyNot() != "" {
			d.mu.Lock()
			changed := d.changed
			d.mu.Unlock()
			if d.whyNot() == "" {
				break
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%s: %s", d.FullName(), d.whyNot())
			}
		}
	}
	return dir, ca, g
}

// client is a greeted client, with TLS when cert is not nil.
func (d accessDial) client(t *testing.T, socket string, cert *tls.Certificate) *nbdclient.Raw {
	t.Helper()
	r := must[*nbdclient.Raw](t)(nbdclient.DialRaw(t.Context(), "unix:"+filepath.Join(d.dir, socket)))
	t.Cleanup(func() { r.Close() })
	if _, err := r.Greet(); err != nil {
		t.Fatal(err)
	}
	if cert == nil {
		return r
	}
	if _, err := r.Ask(nbdclient.OptStartTLS, nil); err != nil {
		t.Fatal(err)
	}
	return &nbdclient.Raw{Conn: tls.Client(r.Conn, &tls.Config{RootCAs: d.ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{*cert}})}
}

type accessDial struct {
	dir string
	ca  *certs.Authority
}

// P14: a client reaches the exports of its certificate only, by whatever option, and
// learns nothing of others.
func TestP14Certificates(t *testing.T) {
	dir, ca, g := accessBed(t)
	d := accessDial{dir, ca}
	host1, host2, both := ca.Client("host1"), ca.Client("host2"), ca.Issue(certs.Spec{
		Name: "host1", Client: true, DNS: []string{"other.example"}, URIs: []string{"spiffe://example/host1"},
	})
	stranger := ca.Issue(certs.Spec{Name: "HOST1", Organization: "host2", DNS: []string{"vm1"}, Client: true})
	exports := []string{"vm1/root", "vm2/root", "vm3/root"}
	for _, tt := range []struct {
		name, socket string
		cert         *tls.Certificate
		want         []string
		refusal      uint32 // of the others
	}{
		{"plain text", "plain", nil, exports[2:], nbdclient.RepErrUnknown},
		{"plain text where TLS may be", "any", nil, exports[2:], nbdclient.RepErrTLSReqd},
		{"host1", "tls", &host1, []string{"vm1/root", "vm3/root"}, nbdclient.RepErrUnknown},
		{"host1 by choice", "any", &host1, []string{"vm1/root", "vm3/root"}, nbdclient.RepErrUnknown},
		{"host2", "tls", &host2, []string{"vm2/root", "vm3/root"}, nbdclient.RepErrUnknown},
		{"several names", "tls", &both, exports, nbdclient.RepErrUnknown},
		{"a stranger", "tls", &stranger, exports[2:], nbdclient.RepErrUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := d.client(t, tt.socket, tt.cert)
			var listed []string
			list, err := r.List()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				listed = append(listed, e.Name)
			}
			if !slices.Equal(listed, tt.want) {
				t.Errorf("list: got %v, want %v", listed, tt.want)
			}
			texts := map[string]bool{}
			for _, name := range append(exports, "vm1/none") {
				for _, o := range []uint32{nbdclient.OptInfo, nbdclient.OptGo} {
					r := d.client(t, tt.socket, tt.cert)
					_, err := r.Info(o, name)
					var oe *nbdclient.OptionError
					switch {
					case slices.Contains(tt.want, name):
						if err != nil {
							t.Errorf("option %d of %s: %v", o, name, err)
						}
					case !errors.As(err, &oe) || oe.Type != tt.refusal:
						t.Errorf("option %d of %s: got %v, want %#x", o, name, err, tt.refusal)
					default:
						texts[strings.ReplaceAll(oe.Message, name, "X")] = true
					}
					r.Close()
				}
				r := d.client(t, tt.socket, tt.cert)
				e, err := r.ExportName(name, true)
				if got := err == nil && e.Size == 1<<20; got != slices.Contains(tt.want, name) {
					t.Errorf("EXPORT_NAME %s: %+v, %v", name, e, err)
				}
				r.Close()
			}
			if len(texts) != 1 {
				t.Errorf("refusals tell hidden exports from those that are not there: %v", texts)
			}
		})
	}

	r := d.client(t, "tls", &host1)
	if _, err := r.Info(nbdclient.OptGo, "vm1/root"); err != nil {
		t.Fatal(err)
	}
	sessions := (*adminView)(g).Sessions()
	i := slices.IndexFunc(sessions, func(s control.Session) bool { return s.Certificate != "" && s.Uses == "vm1/root" })
	if i < 0 || sessions[i].TLS != "TLS 1.3" || sessions[i].Cipher == "" || sessions[i].Certificate != "host1" {
		t.Errorf("sessions: %+v", sessions)
	}
}

// TestOwnerCertificates: over one socket, clients are told apart by their certificates.
func TestOwnerCertificates(t *testing.T) {
	dir, ca, _ := accessBed(t)
	d := accessDial{dir, ca}
	host1, host2 := ca.Client("host1"), ca.Client("host2")
	use := func(socket string, cert *tls.Certificate) error {
		_, err := d.client(t, socket, cert).Info(nbdclient.OptGo, "vm3/root")
		return err
	}
	for range 2 {
		if err := use("tls", &host1); err != nil {
			t.Fatal(err)
		}
	}
	const who = "vm3/root is in use by NBD client host1"
	if err := use("tls", &host2); !refusedBy(err, who) {
		t.Errorf("another certificate: %v", err)
	}
	if err := use("plain", nil); !refusedBy(err, who) {
		t.Errorf("no certificate: %v", err)
	}
	if err := use("any", &host1); err != nil {
		t.Errorf("the same certificate elsewhere: %v", err)
	}
}

func TestCertificateNames(t *testing.T) {
	ca := certs.New(t, "CA")
	for _, tt := range []struct {
		spec     certs.Spec
		certName string // that a VM has
		want     bool
		shown    string
	}{
		{certs.Spec{Name: "host1"}, "host1", true, "host1"},
		{certs.Spec{Name: "host1"}, "HOST1", false, "host1"},
		{certs.Spec{Name: "host1"}, "CN=host1", true, "host1"},
		{certs.Spec{Name: "host1", Organization: "Example"}, "CN=host1", false, "host1"},
		{certs.Spec{Name: "host1", Organization: "Example"}, "CN=host1,O=Example", true, "host1"},
		{certs.Spec{DNS: []string{"a.example", "b.example"}}, "b.example", true, "a.example"},
		{certs.Spec{DNS: []string{"*.example"}}, "b.example", false, "*.example"},
		{certs.Spec{URIs: []string{"spiffe://x/y"}}, "spiffe://x/y", true, "spiffe://x/y"},
		{certs.Spec{Organization: "Example"}, "Example", false, "O=Example"},
		{certs.Spec{Name: "CN=host1"}, "CN=host1", false, "CN=host1"},
		{certs.Spec{Name: "a,O=Example"}, "CN=a,O=Example", false, "a,O=Example"},
	} {
		tt.spec.Client = true
		c := VMNBDConfig{Certificates: []string{"something", tt.certName}}
		cert := ca.Issue(tt.spec).Leaf
		if got := c.admits(cert); got != tt.want {
			t.Errorf("%v admitted by %q: %v", cert.Subject, tt.certName, got)
		}
		if got := clientName(&nbd.Peer{TLS: &nbd.TLSPeer{Certificate: cert}}); got != tt.shown {
			t.Errorf("shown as %q, want %q", got, tt.shown)
		}
	}
	if (&VMNBDConfig{Certificates: []string{""}}).admits(&x509.Certificate{}) {
		t.Error("a certificate without any name is admitted")
	}
	if (&VMNBDConfig{Certificates: []string{"x"}}).admits(nil) || !(&VMNBDConfig{}).admits(nil) {
		t.Error("no certificate")
	}
}
