// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// How long things may take on a machine that does much else.
const (
	settleLimit = 90 * time.Second
	lostLimit   = 20 * time.Second
	hitLimit    = 5 * time.Second
	startLimit  = 30 * time.Second
)

// wound is a fault that was made.
type wound struct {
	paths []string // that it concerns
	// need is how many of the paths the gateway must lose before it is mended: all
	// of them, one, or none.
	need int
	hit  func() bool // tells whether it took effect; nil: it did
	mend func() error
}

// strike makes a fault. What it needs to be taken back is in the wound.
func (b *bed) strike(t testing.TB, f Fault) *wound {
	t.Helper()
	switch f.Kind {
	case Stop, Kill:
		return b.strikeTarget(t, f)
	case LinkDown, CarrierLost:
		b.links.set(t, f.Victim, f.Kind == CarrierLost, false)
		w := &wound{paths: b.behind(t, f.Victim), need: 1, mend: func() error {
			b.links.set(t, f.Victim, f.Kind == CarrierLost, true)
			return nil
		}}
		return w
	case Disable:
		name := b.g.Paths(t)[f.Victim].Name
		b.g.MustCLI(t, "path", "disable", name)
		return &wound{paths: []string{name}, need: 1, mend: func() error {
			_, err := b.g.CLI(t.Context(), "path", "enable", name)
			return err
		}}
	case Fail:
		name := b.g.Paths(t)[f.Victim].Name
		b.g.MustCLI(t, "path", "fail", "--hold", name)
		return &wound{paths: []string{name}, need: 1, mend: func() error {
			_, err := b.g.CLI(t.Context(), "path", "reinstate", name)
			if err != nil && strings.Contains(err.Error(), "not reinstated after") {
				return nil // it is on its way, which is waited for
			}
			return err
		}}
	case KillGateway:
		b.g.Kill()
		return &wound{mend: b.g.Start}
	default:
		return b.strikePortal(t, f)
	}
}

// strikeTarget stops or kills a target process.
func (b *bed) strikeTarget(t testing.TB, f Fault) *wound {
	t.Helper()
	s := b.tgts[f.Victim]
	w := &wound{}
	for i := range b.portals {
		if len(b.tgts) == 1 || i == f.Victim { // two processes have a portal each
			w.paths = append(w.paths, b.behind(t, i)...)
		}
	}
	w.need = len(w.paths)
	var err error
	if f.Kind == Stop {
		err, w.mend = s.Stop(), s.Cont
	} else {
		err, w.mend = s.Kill(), func() error { return s.Restart(t.Context()) }
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// strikePortal has a proxy make the fault.
func (b *bed) strikePortal(t testing.TB, f Fault) *wound {
	t.Helper()
	p, paths := b.proxies[f.Victim], b.behind(t, f.Victim)
	w := &wound{paths: paths, need: len(paths), mend: func() error { p.Clear(); return nil }}
	list := f.Kind.faults()
	switch f.Kind {
	case Delay:
		list = []proxy.Fault{{Kind: proxy.Delay, Delay: 20 * time.Millisecond, Jitter: 15 * time.Millisecond}}
		w.need = 0
	case HoldWrite, Corrupt:
		w.need = 1
	default:
	}
	watched := list[len(list)-1].Kind
	before := p.Counters().Fault(watched).Times
	for _, pf := range list {
		p.MustSet(pf)
	}
	w.hit = func() bool {
		return p.Wait(func(c proxy.Counters) bool { return c.Fault(watched).Times > before }, hitLimit) == nil
	}
	return w
}

// lost waits until the gateway has told the loss of as many paths as the wound
// needs, and gives how many it has.
func (b *bed) lost(t testing.TB, mark int, w *wound) int {
	t.Helper()
	seen := func() int {
		var names []string
		for _, e := range b.g.Events.Since(mark, gate.Kind("path-down", "path-disabled", "path-quarantined")) {
			if slices.Contains(w.paths, e.Path) && !slices.Contains(names, e.Path) {
				names = append(names, e.Path)
			}
		}
		return len(names)
	}
	if !gate.Poll(lostLimit, func() bool { return seen() >= w.need }) {
		t.Errorf("%d of the paths %v were lost, want %d; events: %v", seen(), w.paths, w.need,
			b.g.Events.Since(mark, func(gate.Event) bool { return true }))
	}
	return seen()
}

// also resets the connections of another portal, if the fault says so.
func (b *bed) also(f Fault) {
	if f.Also >= 0 && f.Also < len(b.proxies) {
		b.proxies[f.Also].ResetConns()
	}
}

// repeat is what a person types to see it again.
func repeat(seed uint64) string { return fmt.Sprintf("make thrash SEED=%d ROUNDS=1", seed) }
