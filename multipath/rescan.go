// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"fmt"
	"slices"
)

// Rescan asks every portal for targets and every session for LUNs again, and
// waits until the sessions that are up have answered, or for ctx. A larger size
// that a path shows then is taken as announced.
func (m *Manager) Rescan(ctx context.Context) error {
	r, err := m.StartRescan("")
	if err != nil {
		return err
	}
	for _, w := range r.waits {
		select {
		case <-w.over:
		case <-ctx.Done():
			return ctx.Err()
		case <-m.stopped:
			return ErrClosed
		}
	}
	return nil
}

// RescanRun is a rescan that was begun. Safe for concurrent use.
type RescanRun struct{ waits []scanWait }

type scanWait struct {
	port string        // adapter and target number
	over chan struct{} // closed after the scan
}

// Sessions is how many sessions were asked, those that were up.
func (r *RescanRun) Sessions() int { return len(r.waits) }

// Waiting gives the sessions that have not answered yet, as "vmhba0:1".
func (r *RescanRun) Waiting() []string {
	var list []string
	for _, w := range r.waits {
		select {
		case <-w.over:
		default:
			list = append(list, w.port)
		}
	}
	return list
}

// StartRescan begins a Rescan of the sessions of one adapter, or of all if adapter is
// "", and does not wait. SendTargets is asked again in any case. ErrNotFound: there is
// no such adapter.
func (m *Manager) StartRescan(adapter string) (*RescanRun, error) {
	known := func(a Adapter) bool { return a.Name == adapter }
	if adapter != "" && !slices.ContainsFunc(m.cfg.Adapters, known) {
		return nil, fmt.Errorf("adapter %s: %w", adapter, ErrNotFound)
	}
	m.mu.Lock()
	ports, seekers := slices.Clone(m.ports), slices.Clone(m.seekers)
	ok := m.running && !m.closing
	m.mu.Unlock()
	if !ok {
		return nil, ErrClosed
	}
	for _, s := range seekers {
		select {
		case s.now <- struct{}{}:
		default:
		}
	}
	r := &RescanRun{}
	for _, pt := range ports {
		if adapter != "" && pt.adapter.Name != adapter {
			continue
		}
		w := scanWait{pt.name(), make(chan struct{})}
		pt.mu.Lock()
		pt.again, pt.asked = true, true
		if pt.up {
			pt.waiters = append(pt.waiters, w.over)
			r.waits = append(r.waits, w)
		}
		pt.mu.Unlock()
		pt.wake()
	}
	return r, nil
}
