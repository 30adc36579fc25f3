// SPDX-License-Identifier: Apache-2.0

package nbd

import "pathgate/backends"

// command describes a request type: what it becomes and what it is checked for.
type command struct {
	op      backends.Op
	flags   uint16  // command flags that may be set
	needs   txFlags // the export has to have said one of these; 0: always there
	changes bool    // refused on a read-only export
	payload bool    // Length is that of a payload
	beyond  errno   // error of a range that ends behind the export
}

// commands is indexed by request type. A zero entry is no request (DISC is
// handled before) (NBD proto.md "Request types", "Error values").
var commands = [...]command{
	cmdRead:  {op: backends.Read, flags: cmdFlagFUA, payload: true, beyond: errInval},
	cmdWrite: {op: backends.Write, flags: cmdFlagFUA, changes: true, payload: true, beyond: errNoSpace},
	cmdFlush: {op: backends.Flush, flags: cmdFlagFUA, needs: txSendFlush},
	cmdTrim:  {op: backends.Unmap, flags: cmdFlagFUA, needs: txSendTrim, changes: true, beyond: errInval},
	cmdCache: {op: backends.Cache, flags: cmdFlagFUA, needs: txSendCache, beyond: errInval},
	cmdWriteZeroes: {
		op: backends.WriteZeroes, flags: cmdFlagFUA | cmdFlagNoHole | cmdFlagFastZero,
		needs: txSendWriteZeroes, changes: true, beyond: errNoSpace,
	},
}

// check gives what h asks for, or the error that it is answered with. The
// payload of a WRITE has to be consumed either way.
func check(h *header, tx txFlags, g *geometry, maxPayload uint32) (*command, errno) {
	if int(h.cmd) >= len(commands) || commands[h.cmd].op == 0 {
		return nil, errInval
	}
	c := &commands[h.cmd]
	switch {
	case h.flags&^c.flags != 0,
		h.flags&cmdFlagFastZero != 0 && tx&txReadOnly == 0 && tx&txSendFastZero == 0:
		return nil, errInval
	case c.changes && tx&txReadOnly != 0:
		return nil, errPerm
	case c.needs != 0 && tx&c.needs == 0:
		return nil, errInval
	case c.op == backends.Flush:
		if h.offset != 0 || h.length != 0 {
			return nil, errInval
		}
		return c, 0
	case h.length == 0, (h.offset|uint64(h.length))&g.blockMask != 0:
		return nil, errInval
	case c.payload && h.length > maxPayload:
		return nil, errInval
	}
	end := h.offset + uint64(h.length)
	if end < h.offset {
		return nil, errInval
	}
	if end > g.size {
		return nil, c.beyond
	}
	return c, 0
}
