// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"pathgate/gateway/nbd"
)

// NBDListener is one address of the NBD server.
type NBDListener struct {
	ListenAddr
	// TLS says whether clients have to begin TLS, may, or cannot. Default required where
	// there is a certificate, else off.
	TLS nbd.TLSMode
	// Certificate is an absolute path: our certificate and its chain, PEM. Key is its key,
	// PEM, in a file like that of a secret. Both are set exactly when TLS is not off.
	Certificate string
	Key         Secret
	// ClientCA is an absolute path: PEM certificates of who signs those of clients, which
	// then need one. Empty: clients show none, and nobody knows who they are.
	ClientCA string
}

// VMNBDConfig says who may use a VM's disks over NBD.
type VMNBDConfig struct {
	// Certificates are names of client certificates: a common name, a DNS or URI
	// alternative name, or with a "=" in it the whole subject as RFC 4514 writes it
	// ("CN=host1,O=Example"). Clients without one of them do not see the VM, not even over
	// a socket of this host. Empty: every client that can connect.
	Certificates []string
}

// StopMode says what becomes of NBD requests that come in during a stop.
type StopMode string

// The modes. StopError is what the NBD protocol wants: ESHUTDOWN, which QEMU and Linux
// take for an error of the disk. StopClose gives no answer: clients that connect again, as
// QEMU does with reconnect-delay, send the requests once more.
const (
	StopError StopMode = "error"
	StopClose StopMode = "close"
)

const (
	nbdListen       = "unix:/absolute/path, or ip:port, port 10809 when left out; IPv6 in brackets; or systemd:name"
	certificateRule = "a common name, a DNS or URI alternative name, or a whole subject such as CN=host1,O=Example, 1 to 1024 bytes"
)

// nbdListener reads an address, or a mapping that has one.
func (d *decoder) nbdListener(v value, key string) (l NBDListener) {
	if v.kind != kindMap {
		parseInto(d, v, key, &l.ListenAddr, parseNBDListen, nbdListen)
		return l
	}
	o := d.object(v, key, "address", "tls", "certificate-file", "key-file", "client-ca-file")
	o.require("address")
	parsed(o, "address", &l.ListenAddr, parseNBDListen, nbdListen)
	if o.has("certificate-file") {
		l.TLS = nbd.TLSRequired
	}
	modes := []nbd.TLSMode{nbd.TLSRequired, nbd.TLSOptional, nbd.TLSOff}
	parsed(o, "tls", &l.TLS, func(s string) (nbd.TLSMode, error) {
		i := slices.IndexFunc(modes, func(m nbd.TLSMode) bool { return m.String() == s })
		if i < 0 {
			return 0, errWord
		}
		return modes[i], nil
	}, "one of required, optional, off")
	o.text("certificate-file", &l.Certificate, checkPath)
	o.text("key-file", &l.Key.File, checkPath)
	o.text("client-ca-file", &l.ClientCA, checkPath)
	files := []string{"certificate-file", "key-file"}
	if l.TLS == nbd.TLSOff {
		for _, k := range append(files, "client-ca-file") {
			if o.has(k) {
				d.fault(joinKey(key, k), "is not used here", "belongs to tls: required or optional, and to certificate-file and key-file")
			}
		}
		return l
	}
	for _, k := range files {
		if !o.has(k) {
			d.fault(key, "has no "+k, "TLS needs certificate-file and key-file")
		}
	}
	return l
}

var errCertificateName = errors.New("is not a certificate's name")

func (d *decoder) vmNBD(v value, key string) (c VMNBDConfig) {
	o := d.object(v, key, "certificates")
	o.list("certificates", func(v value, key string) {
		var name string
		parseInto(d, v, key, &name, func(s string) (string, error) {
			if s == "" || len(s) > 1024 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.TrimSpace(s) != s {
				return "", errCertificateName
			}
			return s, nil
		}, certificateRule)
		c.Certificates = append(c.Certificates, name)
	})
	return c
}
