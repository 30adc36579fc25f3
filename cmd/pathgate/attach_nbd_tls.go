// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// tls gives what connections are encrypted with, or nil. The files are read anew for each
// connection; that they can be used is found out now.
func (f *nbdFlags) tls() (func() (*tls.Config, error), error) {
	if f.tlsDir == "" {
		if f.tlsName != "" {
			return nil, usageError{errors.New("--tls-hostname goes with --tls-certificates alone")}
		}
		return nil, nil
	}
	_, err := f.loadTLS()
	return f.loadTLS, err
}

func (f *nbdFlags) loadTLS() (*tls.Config, error) {
	cfg := &tls.Config{ServerName: f.tlsName, MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	ca := filepath.Join(f.tlsDir, "ca-cert.pem")
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate is in it", ca)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(f.tlsDir, "client-cert.pem"), filepath.Join(f.tlsDir, "client-key.pem"))
	switch {
	case errors.Is(err, fs.ErrNotExist): // the server may want none
	case err != nil:
		return nil, fmt.Errorf("client-cert.pem and client-key.pem in %s: %w", f.tlsDir, err)
	default:
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// flushDisks tells the kernel that this process is needed to write out what is in memory
// (PR_SET_IO_FLUSHER): when it wants memory itself it must not wait for that. The
// attribute is one of a thread that those made by it inherit, and so does the program
// that the thread begins: this one once more. It returns when all threads have it.
func flushDisks() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if has, err := unix.PrctlRetInt(unix.PR_GET_IO_FLUSHER, 0, 0, 0, 0); err != nil || has != 0 {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0); err != nil {
		return err
	}
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0) // some threads with it are of no use
	return fmt.Errorf("begin this program once more: %w", err)
}
