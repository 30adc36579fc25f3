// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
)

// socketMode lets the owner and the group in; QEMU runs as another user.
const socketMode = 0o660

// listenerSet is every listener of the gateway, open before anything runs, so
// that an address in use is told at once.
type listenerSet struct {
	control net.Listener
	nbd     []nbdSocket
	iscsi   []net.Listener // in the order of the configuration
}

// nbdSocket is a listener of the NBD server with what it does about TLS.
type nbdSocket struct {
	net.Listener
	security nbd.Security
}

func (g *Gateway) listen() (_ *listenerSet, err error) {
	s := &listenerSet{}
	from := passed{g.opt.Sockets}
	defer func() {
		if err != nil {
			s.close()
			for _, left := range from.left {
				_ = left.Listener.Close()
			}
		}
	}()
	if s.control, err = listenOn(g.cfg.Control); err != nil {
		return nil, err
	}
	for i := range g.cfg.NBD.Listen {
		if err := s.addNBD(g, &g.cfg.NBD.Listen[i], &from); err != nil {
			return nil, err
		}
	}
	for i := range g.cfg.ISCSI.Listen {
		if err := s.addISCSI(g, &g.cfg.ISCSI.Listen[i], &from); err != nil {
			return nil, err
		}
	}
	return s, from.done()
}

func (s *listenerSet) addNBD(g *Gateway, l *NBDListener, from *passed) error {
	sec := nbd.Security{Mode: l.TLS}
	if l.TLS != nbd.TLSOff {
		files, err := newTLSFiles(l, g.log)
		if err != nil {
			return err
		}
		sec.Config = files.config
	}
	list, err := from.open(l.ListenAddr)
	for _, ln := range list {
		s.nbd = append(s.nbd, nbdSocket{ln, sec})
		g.nbdAt = append(g.nbdAt, reachable{shown(ln.Addr()), l})
		if err == nil && !g.cfg.NBD.PlaintextRemote && l.TLS != nbd.TLSRequired {
			err = onlyLocal(l.ListenAddr, ln, "tls: required")
		}
	}
	return err
}

func (s *listenerSet) addISCSI(g *Gateway, l *ISCSIListener, from *passed) error {
	list, err := from.open(l.ListenAddr)
	s.iscsi = append(s.iscsi, list...)
	if err != nil {
		return err
	}
	if _, tcp := list[0].Addr().(*net.TCPAddr); len(list) > 1 || !tcp {
		return fmt.Errorf("listen on %s: systemd has passed %d sockets, the first at %s; an iSCSI listener is one TCP socket",
			l, len(list), list[0].Addr())
	}
	if g.cfg.ISCSI.PlaintextRemote {
		return nil
	}
	return onlyLocal(l.ListenAddr, list[0], "a loopback address")
}

// onlyLocal refuses a passed socket that other hosts reach; of others the configuration
// was checked.
func onlyLocal(l ListenAddr, ln net.Listener, instead string) error {
	if a, ok := ln.Addr().(*net.TCPAddr); l.Network != systemdNetwork || !ok || a.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen on %s: %s is reachable from other hosts without encryption (%s, or plaintext-remote: true on a trusted network)",
		l, ln.Addr(), instead)
}

// reachable is where an NBD listener is reached.
type reachable struct {
	at string // unix:/path or ip:port
	l  *NBDListener
}

func shown(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// open opens a listener, or gives those that were passed.
func (p *passed) open(a ListenAddr) ([]net.Listener, error) {
	if a.Network == systemdNetwork {
		return p.take(a.Address)
	}
	ln, err := listenOn(a)
	if err != nil {
		return nil, err
	}
	return []net.Listener{ln}, nil
}

// close closes what is still open; twice is safe.
func (s *listenerSet) close() {
	if s.control != nil {
		_ = s.control.Close()
	}
	for _, l := range s.nbd {
		_ = l.Close()
	}
	for _, l := range s.iscsi {
		_ = l.Close()
	}
}

// serve starts the front-ends until serving ends, and the control API until
// talking ends: it tells about the stop too.
func (s *listenerSet) serve(g *Gateway, serving, talking context.Context, clients, admin *sync.WaitGroup, errs *errorList) {
	for _, l := range s.nbd {
		clients.Go(func() { errs.add(g.nbd.ServeSecure(serving, l.Listener, l.security)) })
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
