// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pathgate/gateway/nbd"
	"pathgate/integration/certs"
)

// newSecureBed has a server at a unix socket, and one at TCP, that require TLS and a
// client's certificate.
func newSecureBed(t *testing.T) (b *bed, ca *certs.Authority) {
	t.Helper()
	ca = certs.New(t, "test CA")
	server := ca.Server("gateway.example")
	e := &exports{secure: nbd.Security{Mode: nbd.TLSRequired, Config: func() (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}, nil
	}}}
	b = newBed(t, e)
	b.cfg.TLS = func() (*tls.Config, error) {
		return &tls.Config{RootCAs: ca.Pool(), ServerName: "gateway.example", Certificates: []tls.Certificate{ca.Client("host1")}}, nil
	}
	return b, ca
}

// TestAttachTLS: the driver gets sockets that lead through TLS, and others when they are
// lost at either end.
func TestAttachTLS(t *testing.T) {
	b, _ := newSecureBed(t)
	d := b.attach(t)
	if err := b.serves(); err != nil || d.Connections() != 4 {
		t.Fatalf("%v, %d connections", err, d.Connections())
	}
	stop, _ := supervise(t, d)
	for _, n := range []int{1, 4} {
		eventually(t, "nobody listens", b.heard)
		b.cut(n)
		eventually(t, "not connected again", func() bool { return b.serves() == nil })
	}
	if err := stop(); err != nil || !b.said("connected again, 4 of 4") {
		t.Errorf("%v: %q", err, b.log)
	}
	if err := b.disconnect(5); err != nil {
		t.Error(err)
	}
}

// relayed gives both ends of a relay over TLS.
func relayed(t *testing.T, patience time.Duration) (server, driver net.Conn) {
	t.Helper()
	ca := certs.New(t, "test CA")
	near, far := net.Pipe()
	tc := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{ca.Server("gateway.example")}})
	client := tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "gateway.example"})
	shaken := make(chan error, 1)
	go func() { shaken <- tc.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	driver, err := relay(client, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tc.Close(); driver.Close() })
	return tc, driver
}

// TestRelayEnds: the end of one side of a relay is that of the other.
func TestRelayEnds(t *testing.T) {
	for name, end := range map[string]func(server, driver net.Conn) (other net.Conn){
		"server": func(server, driver net.Conn) net.Conn { server.Close(); return driver },
		"driver": func(server, driver net.Conn) net.Conn { driver.Close(); return server },
	} {
		t.Run(name, func(t *testing.T) {
			server, driver := relayed(t, time.Minute)
			go func() { _, _ = server.Write([]byte("to the driver")) }()
			got := make([]byte, 13)
			if _, err := io.ReadFull(driver, got); err != nil || string(got) != "to the driver" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := driver.Write([]byte("to the server")); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(server, got); err != nil || string(got) != "to the server" {
				t.Errorf("%q, %v", got, err)
			}
			if n, err := end(server, driver).Read(got); err == nil {
				t.Errorf("%d bytes after the end", n)
			}
		})
	}
}

// TestRelayLost: a server that takes nothing is given up.
func TestRelayLost(t *testing.T) {
	_, driver := relayed(t, 20*time.Millisecond)
	if _, err := driver.Write([]byte("to the server")); err != nil {
		t.Fatal(err)
	}
	if n, err := driver.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes", n)
	}
}

// TestAttachTLSRefused: what is wrong with TLS is told.
func TestAttachTLSRefused(t *testing.T) {
	b, ca := newSecureBed(t)
	plain := newBed(t, &exports{})
	good, err := b.cfg.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg    Config
		change func(*tls.Config)
		want   string
	}{
		"no TLS":               {b.cfg, nil, "the server wants TLS"},
		"a server without TLS": {plain.cfg, func(*tls.Config) {}, "begin TLS: refused"},
		"another name":         {b.cfg, func(c *tls.Config) { c.ServerName = "other.example" }, "other.example"},
		"no name":              {b.cfg, func(c *tls.Config) { c.ServerName = "" }, "what is the server's name"},
		"another CA":           {b.cfg, func(c *tls.Config) { c.RootCAs = certs.New(t, "another").Pool() }, "unknown authority"},
		"no certificate":       {b.cfg, func(c *tls.Config) { c.Certificates = nil }, "certificate required"},
	} {
		cfg := tt.cfg
		cfg.TLS = nil
		if tt.change != nil {
			cfg.TLS = func() (*tls.Config, error) {
				c := good.Clone()
				tt.change(c)
				return c, nil
			}
		}
		_, err := Attach(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, ErrTLSRequired) != (tt.change == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// The address is the name.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &exports{secure: nbd.Security{Mode: nbd.TLSOptional, Config: func() (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{ca.Server("gateway.example")}}, nil
	}}}
	serve(t, e, ln)
	cfg := b.cfg
	cfg.Addresses = []string{ln.Addr().String()}
	cfg.TLS = func() (*tls.Config, error) { return &tls.Config{RootCAs: ca.Pool()}, nil }
	d, err := Attach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}
