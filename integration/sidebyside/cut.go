// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"fmt"

	"pathgate/integration/proxy"
)

// Kind is what is done to one path.
type Kind uint8

// The kinds of cut.
const (
	// None is no cut: what the machine itself does to requests in the same time.
	None Kind = iota
	// Reset resets the connections; the portal accepts new ones at once.
	Reset
	// Closed resets the connections, and the portal refuses new ones.
	Closed
	// BlackHole swallows all bytes; connections stay, new ones are accepted.
	BlackHole
	// Stopped is a SIGSTOP of the target's process: its kernel goes on taking bytes.
	Stopped
	// LinkDown takes the carrier of the guest's network card.
	LinkDown
)

// Kinds are all kinds of cut.
func Kinds() []Kind { return []Kind{None, Reset, Closed, BlackHole, Stopped, LinkDown} }

// String is the kind in words.
func (k Kind) String() string {
	return [...]string{"no cut", "reset", "reset and refused", "black hole", "target stopped", "link down"}[k]
}

// cut breaks path i.
func (b *Bed) cut(k Kind, i int) error {
	switch k {
	case None:
	case Reset:
		return b.reset(i)
	case Closed:
		if err := b.proxies[i].Set(proxy.Fault{Kind: proxy.Refuse}); err != nil {
			return err
		}
		return b.reset(i)
	case BlackHole:
		return b.proxies[i].Set(proxy.Fault{Kind: proxy.BlackHole})
	case Stopped:
		return b.targets[i].Stop()
	case LinkDown:
		return b.link(i, false)
	}
	return nil
}

// reset resets the connections of both contenders.
func (b *Bed) reset(i int) error {
	if n := b.proxies[i].ResetConns(); n < 2 {
		return fmt.Errorf("%d connections were there to be reset, want one of each contender", n)
	}
	return nil
}

// link gives network card i its carrier, or takes it.
func (b *Bed) link(i int, up bool) error {
	return b.monitor.Do("set_link", map[string]any{"name": card(i), "up": up}, nil)
}

// mend undoes what cut did.
func (b *Bed) mend(k Kind, i int) error {
	switch k {
	case None, Reset:
	case Closed, BlackHole:
		b.proxies[i].Clear()
	case Stopped:
		return b.targets[i].Cont()
	case LinkDown:
		return b.link(i, true)
	}
	return nil
}
