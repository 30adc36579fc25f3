// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"net"

	"pathgate/backends"
	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
)

// Errors that a TargetSource returns, wrapped or not. Any other one is told the
// initiator as a target error (0300h).
var (
	// ErrNotFound: there is no such target for this peer.
	ErrNotFound = errors.New("no such target")
	// ErrRemoved: the target was here and is not any more.
	ErrRemoved = errors.New("target was removed")
	// ErrForbidden: the target exists, and this peer may know that, but not use it.
	ErrForbidden = errors.New("target not permitted")
	// ErrUnavailable: the target cannot be used now, but later.
	ErrUnavailable = errors.New("target not available")
	// ErrTooMany: the target has all the sessions that it may have.
	ErrTooMany = errors.New("too many sessions")
)

// MovedError redirects an initiator to another portal.
type MovedError struct {
	To        wire.TargetAddress // without a portal group tag
	Permanent bool
}

// Error tells where the target is.
func (e *MovedError) Error() string { return "target is at " + e.To.String() }

// Peer tells who logs in.
type Peer struct {
	Local, Remote net.Addr
	// PortalGroupTag is the group of the portal that was asked.
	PortalGroupTag uint16
	// Initiator is the InitiatorName, which nobody has proved; Alias is for people.
	Initiator, Alias string
	ISID             wire.ISID
	// User is the CHAP name that was proved; "": none.
	User string
	// Connection names the connection for people: "iscsi 192.0.2.7:50312".
	Connection string
}

// TargetSource is where a Server finds its targets. Safe for concurrent use. No
// method may wait for long: LoginTimeout is running.
type TargetSource interface {
	// Authentication tells how p has to prove itself before it may open target, or
	// before it may discover when target is "". p.User is not known yet. An error
	// refuses the login: what it tells, it tells to anyone.
	Authentication(p *Peer, target string) (wire.TargetAuthSettings, error)

	// List gives the names of the targets that p may see, in order.
	List(p *Peer) []string

	// Open gives p a use of target. It is called when p has proved itself and an
	// earlier session of the same nexus has ended.
	Open(p *Peer, target string) (Handle, error)
}

// Handle is one session's use of a target.
type Handle struct {
	Target *scsi.Target // required
	// Port is the relative identifier of the target port: of the portal group.
	Port uint16
	// Memory counts the answers that wait for the initiator, and data that comes before
	// its turn; empty: nothing does.
	Memory backends.Account
	// Claims is asked before the session uses a unit; nil: it may use all.
	Claims scsi.Claims
	// Lost is called once, before Close, when the session is over and its tasks are
	// being ended; nil: nothing to do.
	Lost func()
	// Close is called once when no task of this use is outstanding any more; nil:
	// nothing to do.
	Close func()
}

func (h *Handle) close() {
	if h.Close != nil {
		h.Close()
	}
}

// refusal is a login that is answered with a status.
type refusal struct {
	status wire.LoginStatus
	moved  *wire.TargetAddress // with ClassRedirection
	err    error               // why, for the log
}

// Error tells the status and the reason.
func (r *refusal) Error() string {
	if r.err == nil {
		return r.status.String()
	}
	return r.status.String() + ": " + r.err.Error()
}

// Unwrap gives the reason.
func (r *refusal) Unwrap() error { return r.err }

func refuse(s wire.LoginStatus, err error) error { return &refusal{status: s, err: err} }

// refused turns any error of a login into a refusal.
func refused(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if m, ok := errors.AsType[*MovedError](err); ok {
		s := wire.LoginTargetMovedTemporarily
		if m.Permanent {
			s = wire.LoginTargetMovedPermanently
		}
		return &refusal{status: s, moved: &m.To, err: err}
	}
	s := wire.LoginTargetError
	if p, ok := errors.AsType[*wire.ProtocolError](err); ok {
		s = p.Code.LoginStatus()
	}
	for _, known := range [...]struct {
		err    error
		status wire.LoginStatus
	}{
		{ErrNotFound, wire.LoginNotFound},
		{ErrRemoved, wire.LoginTargetRemoved},
		{ErrForbidden, wire.LoginAuthorizationFailure},
		{ErrUnavailable, wire.LoginServiceUnavailable},
		{ErrTooMany, wire.LoginOutOfResources},
	} {
		if errors.Is(err, known.err) {
			s = known.status
		}
	}
	return &refusal{status: s, err: err}
}
