// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxTLSFile bounds a file of certificates or a key, in bytes.
const maxTLSFile = 1 << 20

// tlsFileError tells which file of a listener cannot be used: its key, why, and what is
// wanted.
type tlsFileError struct {
	key, file string
	err       error
	rule      string
}

// Error names the file; the key is for whoever knows the configuration.
func (e *tlsFileError) Error() string { return fmt.Sprintf("%s %s: %v", e.key, e.file, e.err) }

func (e *tlsFileError) Unwrap() error { return e.err }

const (
	certificateFile = "a regular file with PEM certificates, ours first"
	keyFile         = "a regular file with a PEM private key, mode 0600 or tighter, owned by the user that runs the gateway"
	clientCAFile    = "a regular file with PEM certificates of those who sign clients' certificates"
)

// load reads the listener's files. Errors are *tlsFileError and never hold what is in a
// file.
func (l *NBDListener) load() (*tls.Config, error) {
	fail := func(key, file string, err error, rule string) (*tls.Config, error) {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &tlsFileError{key, file, err, rule}
	}
	certPEM, err := readTLSFile(l.Certificate, false)
	if err != nil {
		return fail("certificate-file", l.Certificate, err, certificateFile)
	}
	keyPEM, err := readTLSFile(l.Key.File, true)
	if err != nil {
		return fail("key-file", l.Key.File, err, keyFile)
	}
	defer clear(keyPEM)
	if !x509.NewCertPool().AppendCertsFromPEM(certPEM) {
		return fail("certificate-file", l.Certificate, errors.New("holds no certificate"), certificateFile)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fail("key-file", l.Key.File, err, "the unencrypted private key of the first certificate in "+l.Certificate)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if l.ClientCA == "" {
		return cfg, nil
	}
	caPEM, err := readTLSFile(l.ClientCA, false)
	if err != nil {
		return fail("client-ca-file", l.ClientCA, err, clientCAFile)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caPEM) {
		return fail("client-ca-file", l.ClientCA, errors.New("holds no certificate"), clientCAFile)
	}
	cfg.ClientAuth, cfg.VerifyConnection = tls.RequireAnyClientCert, verifyClient(pool)
	return cfg, nil
}

// maxClientChain bounds what a client shows: each certificate may be one more signature to
// check, with a key as long as the client likes.
const maxClientChain = 10

// verifyClient checks the certificate of a client as crypto/tls does with ClientCAs. Those
// would also be told to the client, and GnuTLS 3.7 finds no RSA certificate of its own
// for them in TLS 1.3, where RSA-PSS is all that is asked for; without it shows what it has.
func verifyClient(pool *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		switch n := len(state.PeerCertificates); {
		case n == 0:
			return errors.New("the client has shown no certificate")
		case n > maxClientChain:
			return fmt.Errorf("the client has shown %d certificates, more than %d", n, maxClientChain)
		}
		opts := x509.VerifyOptions{
			Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}

// readTLSFile reads a file; a private one is checked as that of a Secret.
func readTLSFile(path string, private bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	if private {
		if err := checkSecretInfo(info); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxTLSFile+1))
	if err == nil && len(b) > maxTLSFile {
		err = fmt.Errorf("is longer than %d bytes", maxTLSFile)
	}
	return b, err
}

// fileMark tells one version of a file from another.
type fileMark struct {
	dev, ino uint64
	size     int64
	changed  [2]syscall.Timespec
}

// markFile gives the zero mark of a file that cannot be seen.
func markFile(path string) (m fileMark) {
	var st syscall.Stat_t
	if path == "" || syscall.Stat(path, &st) != nil {
		return m
	}
	return fileMark{dev: st.Dev, ino: st.Ino, size: st.Size, changed: [2]syscall.Timespec{st.Mtim, st.Ctim}}
}

// tlsFiles is what a listener's handshakes are made with. Files that have changed are
// read again at the next one; what cannot be used then is told, once, and what was there
// before goes on. Safe for concurrent use.
type tlsFiles struct {
	l   *NBDListener
	log *slog.Logger

	mu    sync.Mutex
	cfg   *tls.Config
	marks [3]fileMark // of the last attempt
}

// newTLSFiles reads the files of l for the first time.
func newTLSFiles(l *NBDListener, log *slog.Logger) (*tlsFiles, error) {
	f := &tlsFiles{l: l, log: log}
	f.marks = f.mark()
	cfg, err := l.load()
	if err != nil {
		return nil, fmt.Errorf("TLS at %s: %w", l, err)
	}
	f.use(cfg, time.Now())
	return f, nil
}

func (f *tlsFiles) mark() [3]fileMark {
	return [3]fileMark{markFile(f.l.Certificate), markFile(f.l.Key.File), markFile(f.l.ClientCA)}
}

// config gives what a handshake that begins now is made with. It never fails.
func (f *tlsFiles) config() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	marks := f.mark()
	if marks == f.marks {
		return f.cfg, nil
	}
	f.marks = marks
	cfg, err := f.l.load()
	if err != nil {
		f.log.Warn("changed TLS files are not used, those before are", "listener", f.l.String(), "error", err)
		return f.cfg, nil
	}
	f.log.Info("TLS files read again", "listener", f.l.String())
	f.use(cfg, time.Now())
	return cfg, nil
}

// use takes cfg into use and tells when clients will not trust its certificate.
func (f *tlsFiles) use(cfg *tls.Config, now time.Time) {
	f.cfg = cfg
	leaf := cfg.Certificates[0].Leaf
	switch {
	case now.After(leaf.NotAfter):
		f.log.Warn("the certificate has expired", "listener", f.l.String(), "file", f.l.Certificate, "until", leaf.NotAfter)
	case now.Before(leaf.NotBefore):
		f.log.Warn("the certificate is not valid yet", "listener", f.l.String(), "file", f.l.Certificate, "from", leaf.NotBefore)
	}
}
