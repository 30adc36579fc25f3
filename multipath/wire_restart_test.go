// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"

	"pathgate/backends"
)

// wireGate is one run of the manager in a schedule.
type wireGate struct {
	m     *Manager
	ended chan error
	watch *watcher
}

// restart kills the manager and starts another one on what its store has. Requests in
// flight have no answer; those that wrote may still take effect, until one over them
// is acknowledged. What was killed runs on to its end, with no way to any target.
func (w *wireRun) restart() {
	w.mu.Lock()
	for o := range w.going {
		w.endLocked(o, backends.Failed(backends.Aborted))
	}
	w.mu.Unlock()
	w.process.Kill()
	w.bd.store = w.bd.store.clone()
	if w.shape.forgets {
		clear(w.bd.store.ghosts)
	}
	old := w.gates[len(w.gates)-1]
	go func() { _ = old.m.Close() }()
	w.launch()
}

// launch starts a run.
func (w *wireRun) launch() {
	w.process = w.n.Process()
	w.bd.launch(w.configure)
	w.gates = append(w.gates, &wireGate{m: w.bd.m, ended: w.bd.ended, watch: &watcher{out: map[*backends.Request]bool{}}})
	w.dev = nil
}

// device gives that of the run, observed; nil: it has not been found yet.
func (w *wireRun) device() *Device {
	if list := w.bd.m.Devices(); w.dev == nil && len(list) > 0 {
		w.dev = list[0]
		w.dev.Observe(w.gates[len(w.gates)-1].watch)
	}
	return w.dev
}

// bury waits for the runs that were killed, and judges what all have told.
func (w *wireRun) bury() {
	for i, g := range w.gates {
		if i < len(w.gates)-1 {
			<-g.ended // with an error, since nothing could be fenced or logged out
		}
		g.watch.mu.Lock()
		for _, k := range g.watch.bad {
			w.bad = append(w.bad, fmt.Sprintf("observer of run %d: out of turn: %s", i+1, k))
		}
		g.watch.mu.Unlock()
	}
}
