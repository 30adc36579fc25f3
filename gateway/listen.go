// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"

	"pathgate/gateway/control"
)

// socketMode lets the owner and the group in; QEMU runs as another user.
const socketMode = 0o660

// listenerSet is every listener of the gateway, open before anything runs, so
// that an address in use is told at once.
type listenerSet struct {
	control net.Listener
	nbd     []net.Listener
	iscsi   []net.Listener // in the order of the configuration
}

func (g *Gateway) listen() (*listenerSet, error) {
	s := &listenerSet{}
	l, err := listenOn(g.cfg.Control)
	if err != nil {
		return nil, err
	}
	s.control = l
	for _, a := range g.cfg.NBD.Listen {
		l, err := listenOn(a)
		if err != nil {
			s.close()
			return nil, err
		}
		s.nbd = append(s.nbd, l)
	}
	for _, a := range g.cfg.ISCSI.Listen {
		l, err := listenOn(a.ListenAddr)
		if err != nil {
			s.close()
			return nil, err
		}
		s.iscsi = append(s.iscsi, l)
	}
	return s, nil
}

// close closes what is still open; twice is safe.
func (s *listenerSet) close() {
	_ = s.control.Close()
	for _, l := range slices.Concat(s.nbd, s.iscsi) {
		_ = l.Close()
	}
}

// serve starts the front-ends until serving ends, and the control API until
// talking ends: it tells about the stop too.
func (s *listenerSet) serve(g *Gateway, serving, talking context.Context, clients, admin *sync.WaitGroup, errs *errorList) {
	for _, l := range s.nbd {
		clients.Go(func() { errs.add(g.nbd.Serve(serving, l)) })
	}
	for i, l := range s.iscsi {
		clients.Go(func() { errs.add(g.targets.server.Serve(serving, l, g.cfg.ISCSI.portal(i))) })
	}
	admin.Go(func() { errs.add(g.serveControl(talking, s.control)) })
}

// listenOn opens a listener. A unix socket that nobody serves any more is
// replaced; one that is served is an error.
func listenOn(a ListenAddr) (net.Listener, error) {
	if a.Network == "unix" {
		return control.Listen(a.Address, socketMode)
	}
	l, err := net.Listen(a.Network, a.Address)
	if err != nil {
		if call, ok := errors.AsType[*os.SyscallError](err); ok {
			err = call.Err // the rest says again where
		}
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return l, nil
}
