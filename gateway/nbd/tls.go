// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"pathgate/internal/stream"
)

// TLSMode says what a listener makes of TLS (NBD proto.md "TLS support").
type TLSMode uint8

const (
	// TLSOff is NOTLS: STARTTLS is refused.
	TLSOff TLSMode = iota
	// TLSOptional is SELECTIVETLS: clients choose, and the source may say of an
	// export that it needs TLS (ErrTLSRequired).
	TLSOptional
	// TLSRequired is FORCEDTLS: without TLS nothing is answered.
	TLSRequired
)

// String gives off, optional or required.
func (m TLSMode) String() string {
	switch m {
	case TLSOff:
		return "off"
	case TLSOptional:
		return "optional"
	case TLSRequired:
		return "required"
	}
	return fmt.Sprintf("TLSMode(%d)", uint8(m))
}

// Security is what a listener does about TLS. The zero value is TLSOff.
type Security struct {
	Mode TLSMode
	// Config gives what a handshake is made with; called for each, on the connection's
	// goroutine. Not nil unless Mode is TLSOff. TLS 1.2 is the least version, whatever
	// it says. A client's certificate counts when VerifyConnection has let it pass, or
	// was verified by ClientCAs; without either it is not looked at.
	Config func() (*tls.Config, error)
}

// ErrTLSRequired: an export is there for clients with TLS only. Of a client that has
// it, it is ErrUnknownExport. It is wrapped, or returned as it is, by an ExportSource.
var ErrTLSRequired = errors.New("needs TLS")

// TLSPeer is what is known of a client from its TLS handshake.
type TLSPeer struct {
	Version, Cipher string // as crypto/tls calls them
	// Certificate is the client's, whose chain was verified; nil: it has shown none, or
	// none was asked for.
	Certificate *x509.Certificate
}

// needsTLS tells whether the client has to begin TLS first.
func (c *conn) needsTLS() bool { return c.from.sec.Mode == TLSRequired && c.tls == nil }

// refuseWithoutTLS passes option h over on a listener that requires TLS.
func (c *conn) refuseWithoutTLS(h *optionHeader) error {
	if h.option == optExportName {
		return fmt.Errorf("%w: EXPORT_NAME without TLS", errProtocol)
	}
	if err := c.passOver(int(h.length)); err != nil {
		return err
	}
	return c.replyError(h.option, repErrTLSReqd, "this server requires TLS")
}

// startTLS answers NBD_OPT_STARTTLS and makes the connection a TLS one. What the client
// has sent in plain text beyond it must not count as sent under TLS (CVE-2021-3716):
// then the connection ends.
func (c *conn) startTLS(data []byte) error {
	switch {
	case c.tls != nil:
		return c.replyError(optStartTLS, repErrInvalid, "TLS has begun already")
	case c.from.sec.Mode == TLSOff:
		return c.replyError(optStartTLS, repErrPolicy, "TLS is off at this address")
	case len(data) > 0:
		return c.replyError(optStartTLS, repErrInvalid, "STARTTLS has no data")
	case len(c.in.Buffered()) > 0:
		return fmt.Errorf("%w: %d bytes behind STARTTLS", errProtocol, len(c.in.Buffered()))
	}
	if err := c.awaitTLS(); err != nil {
		return err
	}
	cfg, err := c.from.sec.Config()
	if err != nil {
		c.log(slog.LevelError, "TLS cannot be begun", "error", err)
		return c.replyError(optStartTLS, repErrPolicy, "TLS is not ready at this server")
	}
	cfg = secured(cfg)
	if err := c.reply(optStartTLS, repAck, nil); err != nil {
		return err
	}
	if err := c.out.Drain(0); err != nil {
		return err
	}
	return c.handshakeTLS(cfg)
}

// A TLS handshake costs us a signature and a key exchange, more than a millisecond, and a
// client that replays somebody's first message next to nothing (HAZARDS P15).
const (
	// tlsPeerRate is how many handshakes a second a client address has, beyond
	// tlsPeerBurst, which lets a host with many disks come back at once.
	tlsPeerRate  = 50
	tlsPeerBurst = 512
	// tlsRate and tlsBurst are those of all.
	tlsRate  = 200
	tlsBurst = 1024
)

// awaitTLS waits until a handshake of this client is due. Who would have to wait for half
// of the time that a negotiation has is sent away.
func (c *conn) awaitTLS() error {
	wait, ok := c.srv.handshakes.Join(time.Now(), c.from.peer(network(c.addr)), c.srv.cfg.HandshakeTimeout/2)
	if !ok {
		c.log(slog.LevelWarn, "TLS handshake refused: too many")
		return errors.New("too many TLS handshakes")
	}
	if wait == 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return errStopped
	}
}

// network is what one host can choose its addresses from: with IPv6 64 bits.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().Addr()
	}
	return a
}

// secured gives cfg with what does not depend on the listener. There are no tickets:
// connections last, and each is to show a certificate that is good now.
func secured(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.SessionTicketsDisabled = true
	cfg.DynamicRecordSizingDisabled = true
	return cfg
}

// handshakeTLS carries the TLS handshake out, within the deadline of the negotiation,
// and has everything go through TLS from then on.
func (c *conn) handshakeTLS(cfg *tls.Config) error {
	carrier := stream.NewSecure(c.nc, c.in)
	tc := tls.Server(carrier, cfg)
	if err := tc.Handshake(); err != nil {
		if timedOut(err) {
			return err
		}
		c.log(slog.LevelWarn, "TLS handshake failed", "error", err)
		return fmt.Errorf("TLS handshake: %w", err)
	}
	in, out := carrier.Begin(tc, c.lose)
	state := tc.ConnectionState()
	p := &TLSPeer{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite)}
	if len(state.PeerCertificates) > 0 && (len(state.VerifiedChains) > 0 || cfg.VerifyConnection != nil) {
		p.Certificate = state.PeerCertificates[0]
	}
	plain := c.out
	c.srv.mu.Lock()
	c.in, c.out, c.tls, c.peer.TLS = in, out, tc, p
	c.srv.mu.Unlock()
	plain.Close()
	c.forget()
	return nil
}

// forget drops what was negotiated before TLS (NBD proto.md "NBD_OPT_STARTTLS"). The
// client's flags, which come before all options, stay.
func (c *conn) forget() { c.terms.dialect, c.selected, c.selectedOf = simple, 0, "" }

// farewell tells the client that the stream ends here and was not cut.
func (c *conn) farewell() {
	if c.tls != nil {
		_ = c.tls.CloseWrite()
		c.out.Flush()
	}
}
