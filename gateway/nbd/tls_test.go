// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/integration/certs"
	nc "pathgate/integration/nbdclient"
)

// pki makes the certificates that tests here use.
func pki(tb testing.TB) *certs.Authority { return certs.New(tb, "test CA") }

// security gives a listener's side; clients need a certificate of ca.
func security(ca *certs.Authority, mode TLSMode) Security {
	cfg := &tls.Config{
		Certificates: []tls.Certificate{ca.Server("localhost")}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
	return Security{Mode: mode, Config: func() (*tls.Config, error) { return cfg, nil }}
}

// clientTLS is the other side, with a certificate for name; "": none.
func clientTLS(ca *certs.Authority, name string) *tls.Config {
	cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if name != "" {
		cfg.Certificates = []tls.Certificate{ca.Client(name)}
	}
	return cfg
}

// serveTLS is serve with TLS.
func serveTLS(tb testing.TB, cfg Config, sec Security) *bed {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	return serveSecure(tb, cfg, ln, path, sec)
}

// upgrade begins TLS on a greeted connection.
func (p *peer) upgrade(cfg *tls.Config) (*peer, error) {
	if _, err := p.Ask(nc.OptStartTLS, nil); err != nil {
		return nil, err
	}
	tc := tls.Client(p.Conn, cfg)
	if err := tc.Handshake(); err != nil {
		return nil, err
	}
	return &peer{&nc.Raw{Conn: tc}}, nil
}

// secure dials and begins TLS.
func (b *bed) secure(tb testing.TB, cfg *tls.Config) *peer {
	tb.Helper()
	r, err := b.greeted(tb).upgrade(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func wantReply(t *testing.T, err error, want uint32) {
	t.Helper()
	var oe *nc.OptionError
	if !errors.As(err, &oe) || oe.Type != want {
		t.Errorf("got %v, want reply type %#x", err, want)
	}
}

func TestB44ForcedTLS(t *testing.T) {
	ca := pki(t)
	s := newSource().add("x", memory(t, diskSize))
	b := serveTLS(t, Config{Exports: s}, security(ca, TLSRequired))

	r := b.greeted(t)
	for _, o := range []uint32{nc.OptList, nc.OptInfo, nc.OptGo, 4, nc.OptStructuredReply, nc.OptListMetaContext, nc.OptSetMetaContext, 11, 12345} {
		_, err := r.Ask(o, goData(1, "x", 0))
		wantReply(t, err, nc.RepErrTLSReqd)
	}
	_, err := r.Ask(77, make([]byte, 64<<10)) // as long as can be
	wantReply(t, err, nc.RepErrTLSReqd)
	if s.opened() != 0 {
		t.Errorf("%d exports opened without TLS", s.opened())
	}
	if _, err := r.Ask(nc.OptAbort, nil); err != nil {
		t.Errorf("ABORT: %v", err)
	}
	closed(t, r)

	for _, flags := range []uint32{0, nc.FixedNewstyle} {
		r = b.raw(t)
		r.greeting()
		r.SendClientFlags(flags)
		r.SendOption(nc.OptExportName, []byte("x"))
		closed(t, r)
	}

	// Who does not know fixed newstyle knows no errors, so it is not told of TLS.
	for _, o := range []uint32{nc.OptList, nc.OptGo, nc.OptStartTLS} {
		r = b.raw(t)
		r.greeting()
		r.SendClientFlags(0)
		r.SendOption(o, nil)
		closed(t, r)
	}

	r = b.secure(t, clientTLS(ca, "vm1"))
	if list, err := r.List(); err != nil || len(list) != 1 {
		t.Errorf("list with TLS: %v, %v", list, err)
	}
	_, err = r.Ask(nc.OptStructuredReply+100, nil)
	wantReply(t, err, nc.RepErrUnsup)
	if e, err := r.ExportName("x", true); err != nil || e.Size != diskSize {
		t.Errorf("EXPORT_NAME with TLS: %+v, %v", e, err)
	}
}

func TestB44STARTTLS(t *testing.T) {
	ca := pki(t)
	b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSOptional))

	t.Run("twice", func(t *testing.T) {
		r := b.secure(t, clientTLS(ca, "vm1"))
		for range 2 {
			_, err := r.Ask(nc.OptStartTLS, nil)
			wantReply(t, err, nc.RepErrInvalid)
		}
		if _, err := r.List(); err != nil {
			t.Error(err)
		}
	})
	t.Run("with data", func(t *testing.T) {
		r := b.greeted(t)
		_, err := r.Ask(nc.OptStartTLS, []byte{1})
		wantReply(t, err, nc.RepErrInvalid)
		if r, err = r.upgrade(clientTLS(ca, "vm1")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.List(); err != nil {
			t.Error(err)
		}
	})
	for name, behind := range map[string][]byte{
		"an option behind it": nc.AppendOption(nil, nc.OptList, nil),
		"a byte behind it":    {0x16},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.greeted(t)
			r.Send(append(nc.AppendOption(nil, nc.OptStartTLS, nil), behind...))
			closed(t, r)
		})
	}
	// What comes a moment later finds the TLS handshake: still it never counts as an
	// option, and is answered with nothing but an alert.
	t.Run("an option instead of a handshake", func(t *testing.T) {
		r := b.greeted(t)
		if _, err := r.Ask(nc.OptStartTLS, nil); err != nil {
			t.Fatal(err)
		}
		r.SendOption(nc.OptList, nil)
		got, err := io.ReadAll(r.Conn)
		if isTimeout(err) || len(got) > 7 || len(got) > 0 && got[0] != 0x15 {
			t.Errorf("got % x, %v, want at most an alert", got, err)
		}
	})
	t.Run("state set before it", func(t *testing.T) {
		r := b.greeted(t)
		if err := r.Speak(nc.Structured); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Meta(nc.OptSetMetaContext, "x", "base:allocation"); err != nil {
			t.Fatal(err)
		}
		r, err := r.upgrade(clientTLS(ca, "vm1"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Meta(nc.OptSetMetaContext, "x", "base:allocation") // needs structured replies
		wantReply(t, err, nc.RepErrInvalid)
		if _, err := r.Info(nc.OptGo, "x"); err != nil {
			t.Fatal(err)
		}
		r.Send(nc.Request{Cmd: nc.CmdRead, Cookie: 7, Length: 512}.Append(nil))
		if cookie, e, err := r.ReadSimpleReply(); cookie != 7 || e != 0 || err != nil {
			t.Errorf("cookie %d, %v, %v, want a simple reply", cookie, e, err)
		}
	})
	t.Run("off", func(t *testing.T) {
		b, _ := standard(t)
		r := b.greeted(t)
		_, err := r.Ask(nc.OptStartTLS, nil)
		wantReply(t, err, nc.RepErrPolicy)
		if _, err := r.List(); err != nil {
			t.Error(err)
		}
	})
	t.Run("not ready", func(t *testing.T) {
		b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, Security{
			Mode: TLSOptional, Config: func() (*tls.Config, error) { return nil, errors.New("file is gone: /secret/place") },
		})
		r := b.greeted(t)
		_, err := r.Ask(nc.OptStartTLS, nil)
		wantReply(t, err, nc.RepErrPolicy)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the client is told %v", err)
		}
	})
}

// B44: an export may need TLS where the listener does not, and only then is that told.
func TestB44SelectiveTLS(t *testing.T) {
	ca := pki(t)
	s := newSource().add("x", memory(t, diskSize))
	var last atomic.Pointer[TLSPeer]
	s.peer = func(p *Peer) error {
		last.Store(p.TLS)
		if p.TLS == nil {
			return ErrTLSRequired
		}
		if p.TLS.Certificate.Subject.CommonName != "vm1" {
			return ErrUnknownExport
		}
		return nil
	}
	b := serveTLS(t, Config{Exports: s}, security(ca, TLSOptional))
	r := b.greeted(t)
	for _, o := range []uint32{nc.OptInfo, nc.OptGo} {
		_, err := r.Info(o, "x")
		wantReply(t, err, nc.RepErrTLSReqd)
	}
	if r, err := r.upgrade(clientTLS(ca, "vm1")); err != nil {
		t.Error(err)
	} else if _, err := r.Info(nc.OptGo, "x"); err != nil {
		t.Error(err)
	}
	r = b.greeted(t)
	r.SendOption(nc.OptExportName, []byte("x"))
	closed(t, r)

	r = b.secure(t, clientTLS(ca, "vm2"))
	for _, o := range []uint32{nc.OptInfo, nc.OptGo} {
		_, err := r.Info(o, "x")
		wantReply(t, err, nc.RepErrUnknown)
	}
	if p := last.Load(); p.Version != "TLS 1.3" || !strings.HasPrefix(p.Cipher, "TLS_") {
		t.Errorf("got %q, %q", p.Version, p.Cipher)
	}

	// A listener without TLS must not ask for it.
	s = newSource().add("x", memory(t, diskSize))
	s.peer = func(*Peer) error { return ErrTLSRequired }
	r = serve(t, Config{Exports: s}).greeted(t)
	_, err := r.Info(nc.OptGo, "x")
	wantReply(t, err, nc.RepErrUnknown)
}

func TestB55Versions(t *testing.T) {
	ca := pki(t)
	b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSRequired))
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		cfg := clientTLS(ca, "vm1")
		cfg.MinVersion, cfg.MaxVersion = version, version
		if _, err := b.greeted(t).upgrade(cfg); err == nil || isTimeout(err) {
			t.Errorf("%s: got %v, want it refused", tls.VersionName(version), err)
		}
	}
	eventually(t, "closed", func() bool { return len(b.Connections()) == 0 })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := clientTLS(ca, "vm1")
		cfg.MaxVersion = version
		r := b.secure(t, cfg)
		if _, err := r.Info(nc.OptGo, "x"); err != nil {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if got := b.Connections()[0].Peer.TLS; got == nil || got.Version != tls.VersionName(version) {
			t.Errorf("shown: %+v", got)
		}
		r.Close()
		eventually(t, "closed", func() bool { return len(b.Connections()) == 0 })
	}
}

// B55: certificates that must not do.
func TestB55Certificates(t *testing.T) {
	ca, other := pki(t), certs.New(t, "another CA")
	s := newSource().add("x", memory(t, diskSize))
	b := serveTLS(t, Config{Exports: s}, security(ca, TLSRequired))
	for name, cert := range map[string]*tls.Certificate{
		"none":              nil,
		"of another CA":     ptr(other.Client("vm1")),
		"expired":           ptr(ca.Issue(certs.Spec{Name: "vm1", Client: true, NotAfter: time.Now().Add(-time.Hour)})),
		"not yet valid":     ptr(ca.Issue(certs.Spec{Name: "vm1", Client: true, NotBefore: time.Now().Add(time.Hour)})),
		"that of a server":  ptr(ca.Server("localhost")),
		"made by a subject": ptr(ca.Forge("vm1")),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := clientTLS(ca, "")
			if cert != nil {
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
			}
			r, err := b.greeted(t).upgrade(cfg)
			if err == nil { // TLS 1.3: the client has ended its part before the server looks
				_, err = r.List()
			}
			if err == nil || isTimeout(err) {
				t.Errorf("got %v, want the end of the connection", err)
			}
		})
	}
	eventually(t, "all gone", func() bool { return len(b.Connections()) == 0 })
	if s.opened() != 0 {
		t.Errorf("%d exports opened", s.opened())
	}
}

func ptr[T any](v T) *T { return &v }

// B55: a client that stalls in the TLS handshake, or feeds it byte by byte, has the time
// of the negotiation and no more; one that goes away ends at once.
func TestB55Stalls(t *testing.T) {
	ca := pki(t)
	cfg := Config{Exports: newSource().add("x", memory(t, diskSize))}
	hello := clientHello(t, ca)
	t.Run("nothing comes", func(t *testing.T) {
		bubbleTLS(t, cfg, security(ca, TLSRequired), func(t *testing.T, _ *Server, p *pipes, _ func()) {
			r := p.dial()
			begun := time.Now()
			r.greet()
			if _, err := r.Ask(nc.OptStartTLS, nil); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r.Conn)
			if got := time.Since(begun); got != DefaultHandshakeTimeout {
				t.Errorf("closed after %v, want %v", got, DefaultHandshakeTimeout)
			}
		})
	})
	t.Run("byte by byte", func(t *testing.T) {
		bubbleTLS(t, cfg, security(ca, TLSRequired), func(t *testing.T, _ *Server, p *pipes, _ func()) {
			r := p.dial()
			begun := time.Now()
			r.greet()
			if _, err := r.Ask(nc.OptStartTLS, nil); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, r.Conn) }()
			for _, c := range hello {
				if _, err := r.Conn.Write([]byte{c}); err != nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			if got := time.Since(begun); got < DefaultHandshakeTimeout || got > DefaultHandshakeTimeout+100*time.Millisecond {
				t.Errorf("closed after %v, want %v", got, DefaultHandshakeTimeout)
			}
		})
	})
	t.Run("goes away", func(t *testing.T) {
		for _, n := range []int{0, 1, 5, len(hello) / 2, len(hello)} {
			b := serveTLS(t, cfg, security(ca, TLSRequired))
			r := b.greeted(t)
			if _, err := r.Ask(nc.OptStartTLS, nil); err != nil {
				t.Fatal(err)
			}
			r.Send(hello[:n])
			r.closeWrite()
			if _, err := io.Copy(io.Discard, r.Conn); isTimeout(err) {
				t.Errorf("after %d bytes: not closed", n)
			}
		}
	})
	t.Run("stop", func(t *testing.T) {
		bubbleTLS(t, cfg, security(ca, TLSRequired), func(t *testing.T, _ *Server, p *pipes, stop func()) {
			r := p.dial()
			r.greet()
			if _, err := r.Ask(nc.OptStartTLS, nil); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			stop()
			_, _ = io.Copy(io.Discard, r.Conn)
			if got := time.Since(begun); got != DefaultStopGrace {
				t.Errorf("closed after %v, want %v", got, DefaultStopGrace)
			}
		})
	})
}

// clientHello gives the first message of a handshake.
func clientHello(t *testing.T, ca *certs.Authority) []byte {
	near, far := net.Pipe()
	go func() {
		_ = tls.Client(near, clientTLS(ca, "vm1")).Handshake()
		near.Close()
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return b[:n]
}

// bubbleTLS is bubble with TLS.
func bubbleTLS(t *testing.T, cfg Config, sec Security, f func(t *testing.T, srv *Server, p *pipes, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.ServeSecure(ctx, p, sec) }()
		f(t, srv, p, cancel)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// B55: the end of a TLS stream, told or not, ends the connection, and it tells it itself.
func TestB55Ends(t *testing.T) {
	ca := pki(t)
	b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSRequired))
	gone := func() {
		t.Helper()
		eventually(t, "closed", func() bool { return len(b.Connections()) == 0 })
	}
	t.Run("close_notify", func(t *testing.T) {
		r := b.secure(t, clientTLS(ca, "vm1"))
		if err := r.Conn.(*tls.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		closed(t, r)
		gone()
	})
	t.Run("cut", func(t *testing.T) {
		r := b.secure(t, clientTLS(ca, "vm1"))
		_ = r.Conn.(*tls.Conn).NetConn().Close()
		gone()
	})
	t.Run("DISC is answered with close_notify", func(t *testing.T) {
		r := b.secure(t, clientTLS(ca, "vm1"))
		if _, err := r.Info(nc.OptGo, "x"); err != nil {
			t.Fatal(err)
		}
		r.Send(nc.Request{Cmd: nc.CmdRead, Cookie: 1, Length: 1 << 20}.Append(nil))
		r.Send(nc.Request{Cmd: nc.CmdDisc}.Append(nil))
		got, err := io.ReadAll(r.Conn) // io.ErrUnexpectedEOF without
		if err != nil || len(got) != 16+1<<20 {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		gone()
	})
	t.Run("garbage in place of a record", func(t *testing.T) {
		r := b.secure(t, clientTLS(ca, "vm1"))
		_, _ = r.Conn.(*tls.Conn).NetConn().Write(bytes.Repeat([]byte{0x17, 3, 3, 0, 32}, 20))
		if _, err := r.Read(1); err == nil || isTimeout(err) {
			t.Errorf("got %v, want the end", err)
		}
		gone()
	})
}

// Every message goes through TLS as without: short and long, in pieces of any length.
func TestTLSReadsAndWrites(t *testing.T) {
	ca := pki(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		b := serveTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSOptional))
		cfg := clientTLS(ca, "vm1")
		cfg.MaxVersion = version
		r := b.secure(t, cfg)
		if _, err := r.Info(nc.OptGo, "x"); err != nil {
			t.Fatal(err)
		}
		exchange(t, r)
	}
	t.Run("without a descriptor", func(t *testing.T) {
		bubbleTLS(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, security(ca, TLSOptional),
			func(t *testing.T, _ *Server, p *pipes, _ func()) {
				r := p.dial()
				r.greet()
				r, err := r.upgrade(clientTLS(ca, "vm1"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Info(nc.OptGo, "x"); err != nil {
					t.Fatal(err)
				}
				exchange(t, r)
				r.Close()
			})
	})
}

// exchange writes and reads blocks of many lengths, several in flight.
func exchange(t *testing.T, r *peer) {
	t.Helper()
	for i, n := range []int{512, 4096, 16 << 10, 16<<10 - 512, 17 << 10, 256 << 10, 3 << 20} {
		data := bytes.Repeat([]byte{byte(i + 1), byte(i >> 1), 7}, n/3+1)[:n]
		w := append(nc.Request{Cmd: nc.CmdWrite, Cookie: 1, Length: uint32(n)}.Append(nil), data...)
		read := nc.Request{Cmd: nc.CmdRead, Cookie: 2, Length: uint32(n)}.Append(nil)
		sent := make(chan error, 1)
		go func() { sent <- r.Raw.Send(w) }()
		if _, e, err := r.ReadSimpleReply(); e != 0 || err != nil {
			t.Fatal(n, e, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		go func() { sent <- r.Raw.Send(bytes.Repeat(read, 3)) }()
		for range 3 {
			if _, e, err := r.ReadSimpleReply(); e != 0 || err != nil {
				t.Fatal(n, e, err)
			}
			if got, err := r.Read(n); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes differ: %v", n, err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// B66 with TLS: what a client does not read stays bounded, and its connection ends when
// the server stops.
func TestB66DeafTLSClient(t *testing.T) {
	ca := pki(t)
	d := memory(t, diskSize)
	b := serveTLS(t, Config{Exports: newSource().add("x", d), MaxPending: 1 << 20, DrainTimeout: 100 * time.Millisecond},
		security(ca, TLSRequired))
	r := b.secure(t, clientTLS(ca, "vm1"))
	if _, err := r.Info(nc.OptGo, "x"); err != nil {
		t.Fatal(err)
	}
	read := nc.Request{Cmd: nc.CmdRead, Cookie: 2, Length: 256 << 10}.Append(nil)
	go r.Send(bytes.Repeat(read, 1000)) // 250 MiB of answers
	eventually(t, "the connection is full", func() bool {
		list := b.Connections()
		return len(list) == 1 && list[0].Pending > 1<<20
	})
	for range 20 {
		if got := b.Connections()[0].Pending; got > 2<<20 {
			t.Errorf("%d bytes pending", got)
		}
	}
	b.stop()
	if err := <-b.ended; err != nil {
		t.Error(err)
	}
}
