// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"slices"
	"sync"
)

// Watchers is the list behind Device.Watch. The zero Watchers is ready. Safe
// for concurrent use.
type Watchers struct {
	mu   sync.Mutex
	list []*func(Change)
}

// Watch adds fn until stop is called. Stop is safe to call twice.
func (w *Watchers) Watch(fn func(Change)) (stop func()) {
	p := &fn
	w.mu.Lock()
	w.list = append(w.list, p)
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		w.list = slices.DeleteFunc(slices.Clone(w.list), func(q *func(Change)) bool { return q == p })
		w.mu.Unlock()
	}
}

// Tell calls every function with c. The caller holds no lock.
func (w *Watchers) Tell(c Change) {
	w.mu.Lock()
	list := w.list[:len(w.list):len(w.list)]
	w.mu.Unlock()
	for _, fn := range list {
		(*fn)(c)
	}
}
