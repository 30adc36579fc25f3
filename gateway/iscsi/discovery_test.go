// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	initiator "pathgate/backends/iscsi"
	wire "pathgate/internal/iscsi"
)

// connector makes an initiator of our own, with CHAP if user is given.
func connector(tb testing.TB, user, secret string) *initiator.Connector {
	tb.Helper()
	c, err := initiator.New(initiator.Config{
		InitiatorName: testInitiator,
		ISID:          func(string, uint16, string) ([6]byte, error) { return [6]byte{0x80, 9, 9, 9, 9, 9}, nil },
		CHAP: func(string) *initiator.CHAP {
			if user == "" {
				return nil
			}
			return &initiator.CHAP{
				User: user, Secret: wire.NewSecret([]byte(secret)), MutualUser: ourName, MutualSecret: wire.NewSecret([]byte(ourSecret)),
			}
		},
		HeaderDigest: initiator.DigestPrefer, DataDigest: initiator.DigestPrefer,
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Timeouts: initiator.Timeouts{
			NOPInterval: time.Second, NOPTimeout: 20 * time.Second, Login: 20 * time.Second, FenceLogin: 20 * time.Second, Command: 20 * time.Second,
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestDiscovery(t *testing.T) {
	s := newSource().add(t, testTarget, memory(t)).add(t, testTarget+"2", memory(t))
	b := serve(t, Config{}, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	second, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- b.Serve(ctx, second, Portal{GroupTag: 2, Advertise: []wire.TargetAddress{{Host: "2001:db8::7", Port: 3260}}})
	}()
	eventually(t, "two portals", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.portals) == 2
	})
	got, err := connector(t, "", "").Discover(t.Context(), b.addr)
	if err != nil {
		t.Fatal(err)
	}
	want := []backends.TargetPortal{
		{Target: testTarget, Portal: b.addr, GroupTag: 1},
		{Target: testTarget, Portal: "[2001:db8::7]:3260", GroupTag: 2},
		{Target: testTarget + "2", Portal: b.addr, GroupTag: 1},
		{Target: testTarget + "2", Portal: "[2001:db8::7]:3260", GroupTag: 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got, err := connector(t, "", "").Discover(t.Context(), b.addr); err != nil || len(got) != 2 {
		t.Errorf("with one portal: %v, %v", got, err)
	}
	b.idle(t)
}

// discover logs in to a discovery session.
func (r *raw) discover() {
	r.tb.Helper()
	s := wire.DefaultSettings()
	s.InitiatorName, s.SessionType = testInitiator, wire.DiscoverySession
	n, err := wire.NewNegotiator(wire.Initiator, s)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, n.Offer(wire.OperationalNegotiation))
	p, text := r.loginAnswer()
	if p.Status != wire.LoginSuccess || !p.Transit {
		r.tb.Fatalf("%+v", p)
	}
	if _, err := n.Receive(wire.OperationalNegotiation, text); err != nil {
		r.tb.Fatal(err)
	}
	r.begin(n, p)
}

// ask sends a text and gives the whole answer.
func (r *raw) ask(text wire.Text) string {
	r.tb.Helper()
	req := wire.TextRequest{Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}
	data, whole := text.Append(nil), ""
	for {
		r.pdu(req, data)
		h, part := r.expect(wire.OpTextResponse)
		p, err := wire.DecodeTextResponse(h)
		if err != nil || p.ITT != req.ITT {
			r.tb.Fatalf("%+v, %v", p, err)
		}
		whole += string(part)
		if p.Final {
			return strings.ReplaceAll(whole, "\x00", " ")
		}
		req.TTT, req.CmdSN, data = p.TTT, r.next(), nil
	}
}

func TestB18SendTargets(t *testing.T) {
	s := newSource().add(t, testTarget, memory(t)).add(t, testTarget+"2", memory(t)).add(t, testTarget+"3", memory(t))
	s.may = func(_ *Peer, target string) error { // the second is not for us
		if strings.HasSuffix(target, "2") {
			return ErrNotFound
		}
		return nil
	}
	b := serve(t, Config{}, s)
	one := func(name string) string { return fmt.Sprintf("TargetName=%s TargetAddress=%s,1 ", name, b.addr) }
	t.Run("discovery session", func(t *testing.T) {
		r := b.dial(t)
		r.discover()
		for ask, want := range map[string]string{
			"All":            one(testTarget) + one(testTarget+"3"),
			testTarget:       one(testTarget),
			testTarget + "2": "",
			"iqn.nobody:1":   "",
			"":               "SendTargets=Reject ",
		} {
			if got := r.ask(wire.Text{kv(wire.KeySendTargets, ask)}); got != want {
				t.Errorf("SendTargets=%s: got %q, want %q", ask, got, want)
			}
		}
	})
	t.Run("normal session", func(t *testing.T) {
		r := b.dial(t)
		r.login(nil)
		for ask, want := range map[string]string{
			"All": "SendTargets=Reject ", "": one(testTarget), testTarget: one(testTarget), testTarget + "3": "",
		} {
			if got := r.ask(wire.Text{kv(wire.KeySendTargets, ask)}); got != want {
				t.Errorf("SendTargets=%s: got %q, want %q", ask, got, want)
			}
		}
	})
	t.Run("a discovery session does nothing else", func(t *testing.T) {
		r := b.dial(t)
		r.discover()
		r.pdu(r.scsiRead(0, 1), nil)
		r.reject(wire.RejectProtocolError)
		r.cmdSN = r.cmdSN.Prev()
		r.pdu(wire.TaskManagementRequest{Immediate: true, Function: wire.TargetColdReset, ITT: r.tag(), CmdSN: r.cmdSN}, nil)
		r.reject(wire.RejectProtocolError)
		r.pdu(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, nil)
		r.reject(wire.RejectProtocolError)
		if got := r.ask(wire.Text{kv(wire.KeySendTargets, testTarget)}); got != one(testTarget) {
			t.Errorf("got %q", got)
		}
	})
}

// An answer longer than the initiator's MaxRecvDataSegmentLength comes in parts.
func TestLongSendTargets(t *testing.T) {
	s := newSource()
	want := ""
	for i := range 300 {
		s.names = append(s.names, fmt.Sprintf("%s-%s%d", testTarget, strings.Repeat("x", 90), i))
	}
	b := serve(t, Config{}, s)
	for _, n := range s.names {
		want += fmt.Sprintf("TargetName=%s TargetAddress=%s,1 ", n, b.addr)
	}
	r := b.dial(t)
	r.discover()
	if got := r.ask(wire.Text{kv(wire.KeySendTargets, "All")}); got != want {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	// A new one in the middle of the old.
	r.pdu(wire.TextRequest{Final: true, ITT: r.tag(), TTT: wire.NoTag, CmdSN: r.next()}, []byte("SendTargets=All\x00"))
	h, _ := r.expect(wire.OpTextResponse)
	if got := r.ask(wire.Text{kv(wire.KeySendTargets, s.names[7])}); !strings.Contains(got, s.names[7]) {
		t.Errorf("got %q", got)
	}
	// The old one is gone.
	r.pdu(wire.TextRequest{Final: true, ITT: r.itt, TTT: h.TTT(), CmdSN: r.cmdSN}, nil)
	r.reject(wire.RejectProtocolError)
}

// Discovery with CHAP both ways, by our own initiator; and with a wrong secret.
func TestB17DiscoveryWithCHAP(t *testing.T) {
	s := guarded(t)
	b := serve(t, Config{}, s)
	got, err := connector(t, testUser, testSecret).Discover(t.Context(), b.addr)
	if err != nil || len(got) != 1 || got[0].Target != testTarget {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := connector(t, testUser, testSecret+"?").Discover(t.Context(), b.addr); err == nil {
		t.Errorf("with a wrong secret: %v", got)
	}
	if got, err := connector(t, "", "").Discover(t.Context(), b.addr); err == nil {
		t.Errorf("without a secret: %v", got)
	}
	b.idle(t)
}
