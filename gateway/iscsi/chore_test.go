// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

// P15: what costs its initiator nothing goes on at a bounded rate, whatever it is;
// commands that have a place in the window do not wait, nor do sessions of other targets.
func TestP15Chores(t *testing.T) {
	for name, make := range map[string]func(r *raw) encoder{
		"pings without answer": func(r *raw) encoder {
			return wire.NOPOut{Immediate: true, ITT: wire.NoTag, TTT: wire.NoTag, CmdSN: r.cmdSN}
		},
		"data for nobody":       func(*raw) encoder { return wire.DataOut{ITT: 99, TTT: 99} },
		"commands out of place": func(r *raw) encoder { return wire.SCSICommand{Final: true, ITT: 9, CmdSN: r.cmdSN.Add(5000)} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{NOPInterval: -1}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
				r := p.dial(t)
				r.login(nil)
				one := r.bytes(make(r), nil, nil)
				begun := time.Now()
				for range choreBurst + 2*choreRate {
					r.write(one)
				}
				r.ping()
				if got := time.Since(begun); got < 1900*time.Millisecond || got > 3*time.Second {
					t.Errorf("%d of them took %v", choreBurst+2*choreRate, got)
				}
			})
		})
	}
	bubble(t, Config{NOPInterval: -1}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := p.dial(t)
		r.login(nil)
		r.attention()
		begun := time.Now()
		for range choreBurst + choreRate {
			c := r.command([]byte{0})
			r.pdu(c, nil)
			r.good(c.ITT)
		}
		if got := time.Since(begun); got > 0 {
			t.Errorf("commands took %v", got)
		}
	})
}
