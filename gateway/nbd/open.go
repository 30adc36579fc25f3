// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
)

// errGone tells that the client went away while its export was being opened.
var errGone = errors.New("client went away while waiting for its export")

// open opens an export. It may take as long as the source likes; a client that
// goes away, or a stop, ends it.
func (c *conn) open(name string, mode Mode) (h Handle, info backends.Info, waited time.Duration, err error) {
	c.srv.setExport(c, name, mode == Use)
	defer func() {
		if err != nil || mode == Inspect {
			c.srv.setExport(c, "", false)
		}
	}()
	begun := time.Now()
	h, err = c.openWatched(name, mode)
	waited = time.Since(begun)
	if err != nil {
		if c.stopping.Load() {
			err = fmt.Errorf("%w: %w", ErrShutdown, err)
		}
		return h, info, waited, err
	}
	c.serving.Store(mode == Use)
	info = h.Device.Info()
	if err = checkInfo(&info); err != nil {
		c.serving.Store(false)
		h.close()
		return h, info, waited, err
	}
	if mode == Use {
		c.srv.setExport(c, h.Name, true)
	}
	return h, info, waited, nil
}

// openWatched calls Open while it listens for the client's disconnect, which
// cancels the call. The handshake timeout rests.
func (c *conn) openWatched(name string, mode Mode) (Handle, error) {
	c.setDeadlines(time.Time{})
	gone := make(chan error, 1)
	go func() {
		err := c.listen()
		if err != nil {
			c.cancel()
		}
		gone <- err
	}()
	h, err := c.srv.cfg.Exports.Open(c.ctx, name, c.peer, mode)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // ends listen
	lost := <-gone
	c.setDeadlines(time.Now().Add(c.srv.cfg.HandshakeTimeout))
	if lost != nil {
		if err == nil {
			h.close()
		}
		return Handle{}, fmt.Errorf("%w: %w", errGone, lost)
	}
	return h, err
}

// listen reads until the connection fails or the read deadline passes, which is
// nil. A client has nothing to say while it waits for an answer; what it says
// early is kept, within bounds.
func (c *conn) listen() error {
	for len(c.in.Buffered()) <= maxOptionData {
		if err := c.in.Fill(); err != nil {
			if timedOut(err) {
				return nil
			}
			return err
		}
	}
	return fmt.Errorf("%w: %d bytes sent during an option", errProtocol, len(c.in.Buffered()))
}

// contexts gives what was selected for the export called name.
func (c *conn) contexts(name string) contexts {
	if c.selectedOf != name {
		return 0
	}
	return c.selected
}

// flags gives the transmission flags of a use of a device like info, called name.
func (c *conn) flags(h *Handle, info *backends.Info, name string) txFlags {
	f := h.flags(info)
	if c.terms.dialect != simple {
		f |= txSendDF
	}
	if c.terms.dialect == extended && c.contexts(name) != 0 {
		f |= txStatusPayload
	}
	return f
}

// enter prepares the transmission phase with the export that was asked for as
// name.
func (c *conn) enter(h *Handle, info *backends.Info, name string) {
	c.handle, c.dev = *h, h.Device
	c.terms.tx, c.terms.contexts = c.flags(h, info, name), c.contexts(name)
	c.terms.maxPayload = c.srv.cfg.MaxPayload
	c.geo.Store(newGeometry(info))
	c.grant = c.dev.Grant(h.Origin)
	c.out.Count(h.Memory)
}
