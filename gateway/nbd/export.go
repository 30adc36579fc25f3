// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"errors"
	"net"

	"pathgate/backends"
)

// Errors that an ExportSource returns, wrapped or not; any other one of Open is
// reported to the client as if it were ErrUnknownExport. The last three are Resize's.
var (
	// ErrUnknownExport: there is no such export for this peer, or it cannot be
	// used now.
	ErrUnknownExport = errors.New("no such export")
	// ErrNotPermitted: the export exists, and this peer may know that, but
	// not use it.
	ErrNotPermitted = errors.New("export not permitted")
	// ErrShutdown: the server or the export is being stopped.
	ErrShutdown = errors.New("export is being shut down")
	// ErrShrink: an export does not become smaller.
	ErrShrink = errors.New("export never shrinks")
	// ErrTooLarge: it may not become that large.
	ErrTooLarge = errors.New("larger than the export may become")
	// ErrNoSpace: there is no room for it to become that large.
	ErrNoSpace = errors.New("not enough space to grow")
)

// ExportSource is where a Server finds its exports. Safe for concurrent use.
type ExportSource interface {
	// List gives what peer may see, in the order of NBD_OPT_LIST.
	List(peer Peer) []Export

	// Open gives a use of the export called name, "" being the default one. It
	// may wait (for a disk whose LUN is not there yet); ctx ends when the
	// client goes away or the server stops. The handshake timeout does not run
	// meanwhile. See Mode for what the use is.
	Open(ctx context.Context, name string, peer Peer, mode Mode) (Handle, error)
}

// Mode tells what an export is opened for.
type Mode uint8

const (
	// Inspect is for NBD_OPT_INFO, which asks what the export is like. The handle is closed at
	// once; nothing is submitted. Open should not wait and should not displace
	// another client.
	Inspect Mode = iota + 1
	// Use is for a client that goes to transmission.
	Use
)

// Export is one entry of a list.
type Export struct {
	Name        string // at most 4096 bytes of UTF-8
	Description string // for people; may be empty
}

// Handle is one client's use of an export. Device is required.
type Handle struct {
	Export
	Device backends.Device // shared; not closed here
	// Origin is put into every request; nil: none. Made by the source for this
	// connection.
	Origin *backends.Origin
	// Memory counts the replies that wait for the client; empty: nothing does.
	Memory backends.Account
	// Resize has the device become size bytes long, a multiple of its logical block, and
	// returns when that is durable and the device's watchers have been told. Safe for
	// concurrent use; asked for the size that there is, it does nothing. It fails with one
	// of the errors above, or any other, which is told as EIO. nil: RESIZE is not offered.
	Resize func(size uint64) error
	// Single: the client is not told that it may use several connections.
	Single bool
	// Others tells whether the same client uses the export over another connection too:
	// then what it has given up on this one may have been sent there already. nil: not.
	Others func() bool
	// Lost is called once, before Close, when the client has gone and its
	// outstanding requests are being ended; nil: nothing to do.
	Lost func()
	// Close is called once when no request of this use is outstanding any more;
	// nil: nothing to do.
	Close func()
}

// flags gives the transmission flags of a use of a device like info.
func (h *Handle) flags(info *backends.Info) txFlags {
	f := exportFlags(info.Caps)
	if h.Single {
		f &^= txCanMultiConn
	}
	if h.Resize != nil && f&txReadOnly == 0 {
		f |= txSendResize
	}
	return f
}

func (h *Handle) lost() {
	if h.Lost != nil {
		h.Lost()
	}
}

func (h *Handle) close() {
	if h.Close != nil {
		h.Close()
	}
}

// Peer tells who a client is.
type Peer struct {
	Local, Remote net.Addr
	// Connection names the connection for people, as in Origin.Connection:
	// "nbd 192.0.2.7:50312", "nbd /run/pathgate/nbd.sock#3".
	Connection string
	// Number names the connection for End and PeerClosed.
	Number uint64
	// Process is who connected to a unix socket; nil: not known.
	Process *Process
	// TLS is nil while the client speaks plain text.
	TLS *TLSPeer
}

// Process is a process on this host, as the kernel tells it (unix(7), SO_PEERCRED).
type Process struct {
	PID int // 0: it cannot be seen from here
	UID int
}
