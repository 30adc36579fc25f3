// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"strings"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

// P10: names are the same in any case of letters (RFC 7143 4.2.7.1), so a login that
// writes them otherwise reinstates the session all the same.
func TestP10ReinstatementInAnyCase(t *testing.T) {
	upper := func(s string) string { return "iqn." + strings.ToUpper(strings.TrimPrefix(s, "iqn.")) }
	src := newSource().add(t, testTarget, memory(t))
	src.targets[upper(testTarget)] = src.targets[testTarget]
	b := serve(t, Config{}, src)
	old, r := b.session(t), b.dial(t)
	r.login(func(s *wire.Settings) { s.InitiatorName, s.TargetName = upper(testInitiator), upper(testTarget) })
	old.closed()
	r.attention()
	if list := b.Sessions(); len(list) != 1 || list[0].Target != testTarget {
		t.Errorf("%+v", list)
	}
	if got := r.ask(wire.Text{kv(wire.KeySendTargets, testTarget)}); !strings.HasPrefix(got, "TargetName=iqn.") {
		t.Errorf("SendTargets of its own target: %q", got)
	}
	d := b.dial(t)
	d.discover()
	if got := d.ask(wire.Text{kv(wire.KeySendTargets, upper(testTarget))}); !strings.HasPrefix(got, "TargetName="+testTarget) {
		t.Errorf("SendTargets in capitals: %q", got)
	}
}

// B13: the kind of a session is told in the first request, since all that is asked
// before depends on it. Later it may only be repeated.
func TestB13LateSessionType(t *testing.T) {
	b := offer(t, Config{})
	for _, tt := range []struct {
		first, later string
		want         wire.LoginStatus
	}{
		{"", "Discovery", wire.LoginInitiatorError},
		{"Normal", "Discovery", wire.LoginInitiatorError},
		{"Discovery", "Normal", wire.LoginInitiatorError},
		{"", "Other", wire.LoginSessionTypeNotSupported},
		{"", "Normal", wire.LoginSuccess},
	} {
		r := b.dial(t)
		text := wire.Text{kv(wire.KeyInitiatorName, testInitiator), kv(wire.KeyTargetName, testTarget)}
		if tt.first != "" {
			text.Add(wire.KeySessionType, tt.first)
		}
		r.loginPDU(wire.OperationalNegotiation, wire.OperationalNegotiation, text)
		r.loginAnswer()
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, wire.Text{kv(wire.KeySessionType, tt.later)})
		if p, _ := r.loginAnswer(); p.Status != tt.want {
			t.Errorf("%q, then %q: %v, want %v", tt.first, tt.later, p.Status, tt.want)
		}
		_ = r.conn.Close()
	}
	b.idle(t)
}

// A session that ends for what its initiator did ends its connection at once, also
// while its tasks take their time; its name is free when they have ended.
func TestEndsBeforeItsTasks(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	r := b.session(t)
	d.hold()
	r.pdu(r.scsiWrite(0, 1), make([]byte, 512))
	eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
	bad := r.bytes(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag}, nil, nil)
	bad[5], bad[6], bad[7] = 0xff, 0xff, 0xff // more data than may be sent
	r.write(bad)
	r.closed()
	if d.waiting() != 1 || b.sessionOf(t).hasEnded() {
		t.Error("the task has ended")
	}
	d.release()
	b.idle(t)
}

// What ends a session is seen also when its goroutine sets the time of its next look
// just then.
func TestEndIsSeen(t *testing.T) {
	b := offer(t, Config{NOPInterval: -1, DataTimeout: -1})
	r := b.session(t)
	se := b.sessionOf(t)
	se.mu.Lock()
	se.over = errReset
	se.mu.Unlock()
	se.listen(time.Hour)
	r.closed()
	b.idle(t)
}
