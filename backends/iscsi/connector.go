// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"fmt"

	"pathgate/backends"
)

// Connector makes sessions from one adapter. It implements backends.Connector.
// It has no state of its own beyond its Config and is safe for concurrent use.
type Connector struct{ cfg Config }

// New makes a connector. Errors: the configuration cannot work.
func New(cfg Config) (*Connector, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("adapter %s: %w", cfg.Adapter, err)
	}
	return &Connector{cfg}, nil
}

// Connect implements backends.Connector.
func (k *Connector) Connect(p backends.TargetPortal, h backends.NexusHandler) backends.Nexus {
	n := k.newNexus(p, h)
	n.start()
	return n
}

// newNexus makes a nexus that does nothing yet.
func (k *Connector) newNexus(p backends.TargetPortal, h backends.NexusHandler) *nexus {
	n := &nexus{
		cfg:      &k.cfg,
		home:     k,
		target:   p,
		handler:  h,
		sessions: map[uint16]*session{},
		backoff:  backoff{jitter: k.cfg.Jitter},
		kick:     make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// start has n log in. Its goroutine ends with Close, which waits for it.
func (n *nexus) start() { go n.run() }
