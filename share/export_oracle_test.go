// SPDX-License-Identifier: Apache-2.0

package share

// startAt puts V of the core and of the oracle, which have no flows yet, at v:
// so traces run across the wrap of virtual time.
func startAt(c *Core, r *refCore, v uint64) {
	c.root.v = VirtualTime(v)
	for _, g := range c.groups {
		if g != nil {
			g.vt, g.inside.v = VirtualTime(v), VirtualTime(v)
		}
	}
	if r == nil {
		return
	}
	r.root.v = v
	for _, g := range r.groups {
		if g != nil {
			g.vt, g.inside.v = v, v
		}
	}
}
