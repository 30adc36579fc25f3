// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/gateway/nbd"
	"pathgate/integration/certs"
)

const nbdConfig = `
nbd:
  listen:
    - unix:/run/a.sock
    - {address: "10.0.0.1", certificate-file: /etc/cert.pem, key-file: /etc/key.pem, client-ca-file: /etc/ca.pem}
    - {address: "unix:/run/b.sock", tls: optional, certificate-file: /etc/cert.pem, key-file: /etc/key.pem}
    - {address: "127.0.0.1:1", tls: off}
    - systemd:nbd.socket
vms:
  - name: vm1
    nbd: {certificates: [host1, "CN=host2,O=Example", "spiffe://example/vm1"]}
    disks: [{name: a, file: /a}]
  - {name: vm2, disks: [{name: a, file: /b}]}
`

func TestNBDConfig(t *testing.T) {
	c := mustParse(t, nbdConfig)
	want := []NBDListener{
		{ListenAddr: ListenAddr{"unix", "/run/a.sock"}},
		{ListenAddr{"tcp", "10.0.0.1:10809"}, nbd.TLSRequired, "/etc/cert.pem", Secret{"/etc/key.pem"}, "/etc/ca.pem"},
		{ListenAddr{"unix", "/run/b.sock"}, nbd.TLSOptional, "/etc/cert.pem", Secret{"/etc/key.pem"}, ""},
		{ListenAddr: ListenAddr{"tcp", "127.0.0.1:1"}},
		{ListenAddr: ListenAddr{"systemd", "nbd.socket"}},
	}
	if diff := cmp.Diff(want, c.NBD.Listen); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"host1", "CN=host2,O=Example", "spiffe://example/vm1"}, c.VMs[0].NBD.Certificates); diff != "" {
		t.Error(diff)
	}
	// vm2's disks are for every client that a CA has signed.
	var warned []string
	for _, f := range c.Warnings() {
		warned = append(warned, f.Key+" "+f.Message)
	}
	if got := strings.Join(warned, "\n"); !strings.Contains(got, "vms[1].name every client with a certificate can use the disks of vm2") || strings.Contains(got, "vm1:") {
		t.Errorf("warnings:\n%s", got)
	}
}

func TestNBDMistakes(t *testing.T) {
	const disks = "\nvms: [{name: a, disks: [{name: a, file: /a}]}]"
	for name, tt := range map[string]struct{ text, want string }{
		"no key":             {"nbd: {listen: [{address: 127.0.0.1, certificate-file: /c}]}" + disks, "1:16: nbd.listen[0]: has no key-file"},
		"no certificate":     {"nbd: {listen: [{address: 127.0.0.1, tls: optional}]}" + disks, "nbd.listen[0]: has no certificate-file"},
		"files without TLS":  {"nbd: {listen: [{address: 127.0.0.1, tls: off, key-file: /k}]}" + disks, "nbd.listen[0].key-file: \"/k\" is not used here"},
		"a word":             {"nbd: {listen: [{address: 127.0.0.1, tls: yes}]}" + disks, "one of required, optional, off"},
		"no address":         {"nbd: {listen: [{tls: off}]}" + disks, "nbd.listen[0].address: is missing"},
		"optional is plain":  {"nbd: {listen: [{address: 10.0.0.1, tls: optional, certificate-file: /c, key-file: /k}]}" + disks, "nbd.listen[0]: is reachable from other hosts without encryption (tls: required, "},
		"nobody asks":        {"nbd: {listen: [127.0.0.1]}\nvms: [{name: a, nbd: {certificates: [x]}, disks: [{name: a, file: /a}]}]", "vms[0].nbd.certificates: is not used (a listener of nbd has client-ca-file)"},
		"an empty name":      {nbdAsking + "vms: [{name: a, nbd: {certificates: [\"\"]}, disks: [{name: a, file: /a}]}]", "is not a certificate's name"},
		"a socket's name":    {"nbd: {listen: [\"systemd:a:b\"]}" + disks, "is not the name of a socket"},
		"two of a name":      {"nbd: {listen: [\"systemd:a\"]}\niscsi: {listen: [\"systemd:a\"]}" + disks, "iscsi.listen[0]: \"systemd:a\" is used twice"},
		"an unknown setting": {"nbd: {listen: [{address: 127.0.0.1, cert: /c}]}" + disks, "nbd.listen[0].cert: unknown key (one of address, tls, "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

const nbdAsking = "nbd: {listen: [{address: 127.0.0.1, certificate-file: /c, key-file: /k, client-ca-file: /a}]}\n"

// tlsBed has a listener's files in a directory.
func tlsBed(t *testing.T) (*certs.Authority, *NBDListener) {
	dir := t.TempDir()
	ca := certs.New(t, "CA")
	l := &NBDListener{
		ListenAddr: ListenAddr{"tcp", "127.0.0.1:0"}, TLS: nbd.TLSRequired, Certificate: filepath.Join(dir, "cert.pem"),
		Key: Secret{filepath.Join(dir, "key.pem")}, ClientCA: filepath.Join(dir, "ca.pem"),
	}
	ca.Write(ca.Server("localhost"), l.Certificate, l.Key.File)
	ca.WriteCA(l.ClientCA)
	return ca, l
}

// What is wrong with a file is told at its key, and nothing of what is in it.
func TestTLSFilesRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, ca *certs.Authority, l *NBDListener)
		want  string
	}{
		"no certificate": {func(t *testing.T, _ *certs.Authority, l *NBDListener) { remove(t, l.Certificate) }, "certificate-file: cannot be used: no such file or directory"},
		"mode of the key": {func(t *testing.T, _ *certs.Authority, l *NBDListener) {
			if err := os.Chmod(l.Key.File, 0o640); err != nil {
				t.Fatal(err)
			}
		}, "key-file: cannot be used: has mode 0640, want 0600"},
		"the key of another": {func(_ *testing.T, ca *certs.Authority, l *NBDListener) {
			ca.Write(ca.Server("other"), l.Certificate, l.Key.File+".other")
		}, "key-file: cannot be used: tls: private key does not match public key"},
		"no key in it":         {func(t *testing.T, _ *certs.Authority, l *NBDListener) { putFile(t, l.Key.File, "SECRET") }, "key-file: cannot be used: "},
		"no certificate in it": {func(t *testing.T, _ *certs.Authority, l *NBDListener) { putFile(t, l.Certificate, "SECRET") }, "certificate-file: cannot be used: holds no certificate"},
		"no CA in it":          {func(t *testing.T, _ *certs.Authority, l *NBDListener) { putFile(t, l.ClientCA, "SECRET") }, "client-ca-file: cannot be used: holds no certificate"},
		"a directory":          {func(_ *testing.T, _ *certs.Authority, l *NBDListener) { l.ClientCA = filepath.Dir(l.ClientCA) }, "client-ca-file: cannot be used: is not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			ca, l := tlsBed(t)
			tt.spoil(t, ca, l)
			file := filepath.Join(t.TempDir(), "c.yaml")
			putFile(t, file, "nbd: {listen: [{address: 127.0.0.1, certificate-file: "+l.Certificate+", key-file: "+l.Key.File+", client-ca-file: "+l.ClientCA+"}]}\n"+
				"vms: [{name: a, disks: [{name: a, file: /a}]}]\n")
			_, err := Load(file)
			if err == nil {
				t.Fatal("accepted")
			}
			key, message, _ := strings.Cut(tt.want, ": ")
			if got := err.Error(); !strings.HasPrefix(got, file+":1:") || !strings.Contains(got, "nbd.listen[0]."+key+": ") || !strings.Contains(got, message) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the content of a file is told: %v", err)
			}
		})
	}
}

func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// Files that change are used from the next handshake on; while they do not fit, those
// before are.
func TestTLSFilesChange(t *testing.T) {
	ca, l := tlsBed(t)
	var log strings.Builder
	f, err := newTLSFiles(l, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		cfg, err := f.config()
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Certificates[0].Leaf.Subject.CommonName
	}
	first, _ := f.config()
	if again, _ := f.config(); again != first {
		t.Error("read again without a change")
	}
	ca.Write(ca.Server("second"), l.Certificate, l.Key.File+".second")
	if got := name(); got != "localhost" {
		t.Errorf("certificate of %s while its key is not there", got)
	}
	_ = name()
	if n := strings.Count(log.String(), "changed TLS files are not used"); n != 1 {
		t.Errorf("told %d times:\n%s", n, &log)
	}
	if err := os.Rename(l.Key.File+".second", l.Key.File); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "second" {
		t.Errorf("certificate of %s, want the second", got)
	}
	remove(t, l.ClientCA)
	if got := name(); got != "second" {
		t.Errorf("certificate of %s", got)
	}
	cfg, _ := f.config()
	if cfg.ClientAuth != tls.RequireAnyClientCert || cfg.VerifyConnection(tls.ConnectionState{}) == nil {
		t.Error("nobody checks clients without the CA's file")
	}
	if _, err := newTLSFiles(l, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started without the CA's file")
	} else if e := (*tlsFileError)(nil); !errors.As(err, &e) || e.key != "client-ca-file" {
		t.Errorf("got %v", err)
	}
}

// TestVerifyClient: a client's certificate has to be of the CA, for clients, valid, and
// signed by a CA, over intermediates that the client shows too.
func TestVerifyClient(t *testing.T) {
	ca, l := tlsBed(t)
	cfg, err := l.load()
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) (c tls.Certificate) {
		c = ca.Client("a")
		for len(c.Certificate) < n {
			c.Certificate = append(c.Certificate, ca.Server("b").Certificate...)
		}
		return c
	}
	for name, tt := range map[string]struct {
		cert tls.Certificate
		want bool
	}{
		"good":          {ca.Client("a"), true},
		"a server's":    {ca.Server("a"), false},
		"another CA's":  {certs.New(t, "CA").Client("a"), false},
		"expired":       {ca.Issue(certs.Spec{Name: "a", Client: true, NotAfter: time.Now().Add(-time.Minute)}), false},
		"not yet valid": {ca.Issue(certs.Spec{Name: "a", Client: true, NotBefore: time.Now().Add(time.Minute)}), false},
		"of a client":   {ca.Forge("a"), false},
		"a long chain":  {long(10), true},
		"too long":      {long(11), false}, // P15: each may be a signature to check
	} {
		var state tls.ConnectionState
		for _, der := range tt.cert.Certificate {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			state.PeerCertificates = append(state.PeerCertificates, c)
		}
		if err := cfg.VerifyConnection(state); (err == nil) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
