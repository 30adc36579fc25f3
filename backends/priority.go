// SPDX-License-Identifier: Apache-2.0

package backends

import "sync/atomic"

// DefaultPriority is the priority of who has none of its own.
const DefaultPriority = 5

// Priority is how important a VM is, 0-10, 10 is the most important. It may be
// changed while requests point to it. The zero Priority is 0. Safe for concurrent
// use; not to be copied.
type Priority struct{ n atomic.Uint32 }

// NewPriority makes one of n.
func NewPriority(n uint8) *Priority {
	p := new(Priority)
	p.Set(n)
	return p
}

// Set changes it.
func (p *Priority) Set(n uint8) { p.n.Store(uint32(n)) }

// Now gives it; of a nil Priority the default.
func (p *Priority) Now() uint8 {
	if p == nil {
		return DefaultPriority
	}
	return uint8(p.n.Load())
}
