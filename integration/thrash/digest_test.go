// SPDX-License-Identifier: Apache-2.0

//go:build integration

package thrash

import (
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestH15FlippedBits: bits flip on the way to tgtd and back, under 8 stamping writers.
// With CRC32C each is found, costs the session, and no block is bad. Without digests
// nothing below notices, and the audit reports them.
func TestH15FlippedBits(t *testing.T) {
	to, back := proxy.ToTarget, proxy.ToClient
	for name, flips := range map[string][]proxy.Direction{
		"CRC32C": {to, back, back}, // a third one on the way back within a minute would cost the path for long
		"none":   {to, back, back, back, back, back, back, back, to},
	} {
		t.Run(name, func(t *testing.T) {
			digests := name != "none"
			b := newBed(t, &Plan{Seed: 15, Topology: OneTarget, Portals: 2, Adapters: 1, Digests: digests, Selector: "round-robin"})
			by := &stamps{}
			l := b.startLoad(t, by)
			mark := b.g.Events.Mark()
			for _, dir := range flips {
				for i := range b.proxies {
					b.flip(t, i, dir, digests)
				}
			}
			l.stop()
			if err := <-l.done; err != nil {
				t.Fatal(err)
			}
			n, wrong := l.meter.counts(), by.rep.Violations
			if n.failed > 0 {
				t.Errorf("%d requests failed, such as %v", n.failed, n.why)
			}
			if lost := len(b.g.Events.Since(mark, gate.Kind("path-down"))); digests && lost < 2*len(flips) || !digests && lost > 0 {
				t.Errorf("%d paths were lost", lost)
			}
			if digests != (wrong == 0) {
				t.Errorf("%d violations: %v", wrong, by.rep)
			}
			t.Logf("measured: %d flipped bits, digests %v: %d violations in %d requests", 2*len(flips), digests, wrong, n.done)
		})
	}
}

// flip flips one bit of the data of a request that a portal carries, and waits until
// all is well.
func (b *bed) flip(t *testing.T, portal int, dir proxy.Direction, found bool) {
	t.Helper()
	p, mark := b.proxies[portal], b.g.Events.Mark()
	before := p.Counters().Fault(proxy.Corrupt).Times
	p.MustSet(proxy.Fault{Kind: proxy.Corrupt, Dir: dir, At: &proxy.Trigger{
		When: func(d proxy.PDU) bool { return d.DataLen >= 4096 && (d.Write() || d.Opcode == proxy.DataIn) }, HalfData: true,
	}})
	if err := p.Wait(func(c proxy.Counters) bool { return c.Fault(proxy.Corrupt).Times > before }, settleLimit); err != nil {
		t.Fatal(err)
	}
	if found {
		b.lost(t, mark, &wound{paths: b.behind(t, portal), need: 1})
	}
	p.Clear()
	b.settle(t)
}
