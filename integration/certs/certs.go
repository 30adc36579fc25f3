// SPDX-License-Identifier: Apache-2.0

// Package certs makes certificates for tests: an authority, and what it issues for
// servers and clients, good and bad. Keys are made anew each time.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// longAgo is before the clock of a synctest bubble begins.
var longAgo = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)

// Authority is a CA.
type Authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Spec says what a certificate is like. Zero times mean valid now.
type Spec struct {
	// Name is the common name; "": none.
	Name string
	// Organization is a part of the subject; "": none.
	Organization string
	// DNS, IPs and URIs are alternative names.
	DNS  []string
	IPs  []net.IP
	URIs []string
	// Server and Client say what it is for.
	Server, Client      bool
	NotBefore, NotAfter time.Time
}

// New makes an authority.
func New(tb testing.TB, name string) *Authority {
	tb.Helper()
	key := newKey(tb)
	c := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: longAgo, NotAfter: time.Now().Add(48 * time.Hour),
	}
	a := &Authority{tb: tb, key: key}
	a.cert = a.sign(c, c, key.Public(), key)
	return a
}

// Pool has the authority as the only root.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Server issues a certificate for a server of these host names, and for 127.0.0.1 and ::1.
func (a *Authority) Server(dns ...string) tls.Certificate {
	return a.Issue(Spec{Name: dns[0], DNS: dns, IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, Server: true})
}

// Client issues a certificate for a client of that common name.
func (a *Authority) Client(name string) tls.Certificate {
	return a.Issue(Spec{Name: name, Client: true})
}

// Issue issues a certificate.
func (a *Authority) Issue(s Spec) tls.Certificate { return a.issue(s, a.cert, a.key, nil) }

// Forge makes a client's certificate that one of the authority's own clients has signed.
func (a *Authority) Forge(name string) tls.Certificate {
	signer := a.Client("signer")
	return a.issue(Spec{Name: name, Client: true}, signer.Leaf, signer.PrivateKey, signer.Certificate)
}

func (a *Authority) issue(s Spec, parent *x509.Certificate, by crypto.PrivateKey, chain [][]byte) tls.Certificate {
	a.tb.Helper()
	key := newKey(a.tb)
	c := &x509.Certificate{
		SerialNumber: serial(a.tb), Subject: pkix.Name{CommonName: s.Name}, DNSNames: s.DNS, IPAddresses: s.IPs,
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: s.NotBefore, NotAfter: s.NotAfter,
		BasicConstraintsValid: true,
	}
	if s.Organization != "" {
		c.Subject.Organization = []string{s.Organization}
	}
	for _, u := range s.URIs {
		parsed, err := url.Parse(u)
		if err != nil {
			a.tb.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = longAgo
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if s.Server {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if s.Client {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	leaf := a.sign(c, parent, key.Public(), by)
	return tls.Certificate{Certificate: append([][]byte{leaf.Raw}, chain...), PrivateKey: key, Leaf: leaf}
}

func (a *Authority) sign(c, parent *x509.Certificate, pub crypto.PublicKey, by crypto.PrivateKey) *x509.Certificate {
	a.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, by)
	if err != nil {
		a.tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return cert
}

// WriteCA writes the authority's certificate to path.
func (a *Authority) WriteCA(path string) {
	a.tb.Helper()
	a.write(path, 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// Write writes a certificate with its chain, and its key with mode 0600.
func (a *Authority) Write(c tls.Certificate, certFile, keyFile string) {
	a.tb.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(certFile, 0o644, chain)
	a.write(keyFile, 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// ClientDir makes a directory as QEMU's tls-creds-x509 (endpoint=client) and libnbd's
// tls-certificates take it: ca-cert.pem, and unless c is nil client-cert.pem and
// client-key.pem.
func (a *Authority) ClientDir(c *tls.Certificate) (dir string) {
	a.tb.Helper()
	dir = a.tb.TempDir()
	a.WriteCA(filepath.Join(dir, "ca-cert.pem"))
	if c != nil {
		a.Write(*c, filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem"))
	}
	return dir
}

// write replaces a file at once, as whoever renews certificates should.
func (a *Authority) write(path string, mode os.FileMode, b []byte) {
	a.tb.Helper()
	if err := os.WriteFile(path+".new", b, mode); err != nil {
		a.tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.tb.Fatal(err)
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
