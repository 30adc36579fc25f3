// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"errors"
	"log/slog"

	"pathgate/backends"
)

// resize has t, a RESIZE, carried out after those that came before it on this
// connection. It waits for a file system, which nobody else does: the connection goes
// on reading, and other requests, which are within the size that was told, go on too.
// There are as many as there are credits, and one goroutine for all.
func (c *conn) resize(t *task) {
	c.outstanding.Add(1)
	c.mu.Lock()
	c.resizes = append(c.resizes, t)
	first := len(c.resizes) == 1
	c.mu.Unlock()
	if first {
		go c.resizeAll(t)
	}
}

// resizeAll carries out t and those that come meanwhile. A task is in the list until
// it is answered, and may be another's by then.
func (c *conn) resizeAll(t *task) {
	var b backends.Batch
	for t != nil {
		t.end(&b, c.resizeTo(t.req.Offset))
		b.Run()
		t = nil
		c.mu.Lock()
		if c.resizes = c.resizes[1:]; len(c.resizes) > 0 {
			t = c.resizes[0]
		}
		c.mu.Unlock()
	}
}

// resizeErrors are the errors of RESIZE (NBD extension-resize proto.md "Request types").
var resizeErrors = [...]struct {
	err error
	e   errno
}{
	{ErrShrink, errPerm},
	{ErrTooLarge, errPerm},
	{ErrNotPermitted, errPerm},
	{ErrNoSpace, errNoSpace},
	{ErrShutdown, errShutdown},
}

// resizeTo gives the export its size. The geometry of all its connections has it then:
// what a client sends after the reply is held against it.
func (c *conn) resizeTo(size uint64) refusal {
	if c.stopping.Load() && !c.leaving.Load() {
		return refusedStopping
	}
	err := c.handle.Resize(size)
	if err == nil {
		return refusal{}
	}
	for _, r := range resizeErrors {
		if errors.Is(err, r.err) {
			return refusal{r.e, r.err.Error()}
		}
	}
	c.log(slog.LevelWarn, "export not resized", "size", size, "error", err)
	return refusal{errIO, "the size could not be changed"}
}

// Reconnect closes the connections that use the export called name, in order: what was
// taken from a client is carried out and answered, what it has sent beside is not looked
// at. A client that makes its connection again, and sends there again what was not
// answered, learns the size of the export; one that does not has lost it. n is how many
// there are. It does not wait.
func (s *Server) Reconnect(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.using && c.export == name && c.leave() {
			n++
		}
	}
	return n
}
