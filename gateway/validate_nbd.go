// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pathgate/gateway/nbd"
)

// nbd checks what concerns the NBD server.
func (v *validator) nbd(seen map[string]string) {
	known := false
	for i := range v.c.NBD.Listen {
		l := &v.c.NBD.Listen[i]
		key := fmt.Sprintf("nbd.listen[%d]", i)
		known = known || l.ClientCA != "" || v.has(key+".client-ca-file")
		if l.ListenAddr == (ListenAddr{}) {
			continue
		}
		v.unique(seen, l.String(), key, "one listener for an address")
		if !v.c.NBD.PlaintextRemote && l.TLS != nbd.TLSRequired && !isLocal(l.ListenAddr) {
			v.fault(key, "is reachable from other hosts without encryption",
				"tls: required, a loopback address or unix socket, or plaintext-remote: true on a trusted network")
		}
	}
	for i := range v.c.VMs {
		if key := fmt.Sprintf("vms[%d].nbd.certificates", i); v.has(key) && !known {
			v.fault(key, "is not used", "a listener of nbd has client-ca-file")
		}
	}
}

// nbdFiles checks the files of listeners with TLS.
func (v *validator) nbdFiles() {
	for i := range v.c.NBD.Listen {
		l := &v.c.NBD.Listen[i]
		if l.TLS == nbd.TLSOff || l.Certificate == "" || l.Key.File == "" {
			continue
		}
		_, err := l.load()
		if f := (*tlsFileError)(nil); errors.As(err, &f) {
			v.fault(fmt.Sprintf("nbd.listen[%d].%s", i, f.key), "cannot be used: "+f.err.Error(), f.rule)
		}
	}
}

// openExports warns of VMs whose disks anyone can use who reaches a listener that is not
// on loopback and tells clients apart elsewhere.
func (c *Config) openExports() (list []Fault) {
	remote := func(l NBDListener) bool { return l.TLS == nbd.TLSRequired && !isLocal(l.ListenAddr) }
	i := slices.IndexFunc(c.NBD.Listen, remote)
	if i < 0 {
		return nil
	}
	who := "every client with a certificate"
	for _, l := range c.NBD.Listen {
		if remote(l) && l.ClientCA == "" {
			who = "every client"
		}
	}
	for i := range c.VMs {
		vm := &c.VMs[i]
		if len(vm.NBD.Certificates) == 0 {
			f := c.src.fault(fmt.Sprintf("vms[%d].name", i), who+" can use the disks of "+vm.Name+": nbd has no certificates for it", "")
			f.Value = ""
			list = append(list, f)
		}
	}
	return list
}

// certificateNames gives the names in a certificate, what people call it first: not its
// whole subject.
func certificateNames(cert *x509.Certificate) (names []string) {
	if cn := cert.Subject.CommonName; cn != "" {
		names = append(names, cn)
	}
	names = append(names, cert.DNSNames...)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return names
}

// certificate is what peer has proved to be, or nil.
func certificate(peer *nbd.Peer) *x509.Certificate {
	if peer.TLS == nil {
		return nil
	}
	return peer.TLS.Certificate
}

// clientName is what people call a client with a certificate; "" without one.
func clientName(peer *nbd.Peer) string {
	cert := certificate(peer)
	if cert == nil {
		return ""
	}
	return append(certificateNames(cert), cert.Subject.String())[0]
}

// unknown refuses an export that is not there for peer, which is not to learn whether it
// is for others: who could have shown a certificate is told to, whatever the name is.
func (x *exports) unknown(name string, peer *nbd.Peer) error {
	restricted := slices.ContainsFunc(x.cfg.VMs, func(vm VMConfig) bool { return len(vm.NBD.Certificates) > 0 })
	if peer.TLS == nil && restricted {
		return fmt.Errorf("%w or does not exist: %q", nbd.ErrTLSRequired, name)
	}
	return fmt.Errorf("%w: %q", nbd.ErrUnknownExport, name)
}

// admits tells whether the certificate is one of the VM's. What is meant as a subject is
// compared with nothing else, or a common name could be made to look like one.
func (c *VMNBDConfig) admits(cert *x509.Certificate) bool {
	if len(c.Certificates) == 0 {
		return true
	}
	if cert == nil {
		return false
	}
	names, subject := certificateNames(cert), cert.Subject.String()
	return slices.ContainsFunc(c.Certificates, func(want string) bool {
		if strings.Contains(want, "=") {
			return want == subject
		}
		return slices.Contains(names, want)
	})
}
