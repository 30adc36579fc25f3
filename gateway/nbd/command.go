// SPDX-License-Identifier: Apache-2.0

package nbd

import "pathgate/backends"

// command describes a request type: what it becomes and what it is checked for.
type command struct {
	op      backends.Op
	flags   uint16  // command flags that may be set
	needs   txFlags // the export has to have said one of these; 0: always there
	changes bool    // refused on a read-only export
	payload bool    // length is that of a payload, in either direction
	resize  bool    // the offset is a size, and op nothing
	beyond  errno   // error of a range that ends behind the export
}

// commands is indexed by request type. A zero entry is no request (DISC is
// handled before) (NBD proto.md "Request types", "Error values").
var commands = [...]command{
	cmdRead: {op: backends.Read, flags: cmdFlagFUA | cmdFlagDF, payload: true, beyond: errInval},
	cmdWrite: {
		op: backends.Write, flags: cmdFlagFUA | cmdFlagPayloadLen,
		changes: true, payload: true, beyond: errNoSpace,
	},
	cmdFlush: {op: backends.Flush, flags: cmdFlagFUA, needs: txSendFlush},
	cmdTrim:  {op: backends.Unmap, flags: cmdFlagFUA, needs: txSendTrim, changes: true, beyond: errInval},
	cmdCache: {op: backends.Cache, flags: cmdFlagFUA, needs: txSendCache, beyond: errInval},
	cmdWriteZeroes: {
		op: backends.WriteZeroes, flags: cmdFlagFUA | cmdFlagNoHole | cmdFlagFastZero,
		needs: txSendWriteZeroes, changes: true, beyond: errNoSpace,
	},
	cmdBlockStatus: {op: backends.BlockStatus, flags: cmdFlagFUA | cmdFlagReqOne, beyond: errInval},
	cmdResize:      {resize: true, flags: cmdFlagFUA, needs: txSendResize, changes: true},
}

// terms are what a connection has negotiated.
type terms struct {
	dialect    dialect
	tx         txFlags
	contexts   contexts
	maxPayload uint32
	reconnects bool // infoReconnects
}

// Why requests are refused.
var (
	refusedCommand  = refusal{errInval, "unknown command"}
	refusedFlag     = refusal{errInval, "command flag is not valid here"}
	refusedReadOnly = refusal{errPerm, "export is read-only"}
	refusedUnasked  = refusal{errInval, "command was not offered"}
	refusedContext  = refusal{errInval, "no such metadata context was negotiated"}
	refusedFlush    = refusal{errInval, "flush has neither offset nor length"}
	refusedSize     = refusal{errInval, "resize has a length, or a size not in whole blocks"}
	refusedAlign    = refusal{errInval, "range is empty or not made of whole blocks"}
	refusedPayload  = refusal{errInval, "longer than the maximum payload"}
	refusedLong     = refusal{errOverflow, "longer than the maximum payload"}
	refusedStopping = refusal{errShutdown, "export is being shut down"}
)

// flags gives the command flags that may be set with c.
func (t *terms) flags(c *command) uint16 {
	f := c.flags
	if t.tx&txSendDF == 0 {
		f &^= cmdFlagDF
	}
	if t.dialect != extended {
		f &^= cmdFlagPayloadLen
	}
	if t.tx&(txSendFastZero|txReadOnly) == 0 {
		f &^= cmdFlagFastZero
	}
	return f
}

// check gives what h asks for, or why it is refused. A payload has to be consumed
// either way.
func (t *terms) check(h *header, g *geometry) (*command, refusal) {
	if int(h.cmd) >= len(commands) || commands[h.cmd].op == 0 && !commands[h.cmd].resize {
		return nil, refusedCommand
	}
	c := &commands[h.cmd]
	switch {
	case h.flags&^t.flags(c) != 0:
		return nil, refusedFlag
	case c.changes && t.tx&txReadOnly != 0:
		return nil, refusedReadOnly
	case c.needs != 0 && t.tx&c.needs == 0:
		return nil, refusedUnasked
	case c.op == backends.BlockStatus && h.contexts == 0:
		return nil, refusedContext
	case c.resize:
		if h.length != 0 || h.offset&g.blockMask != 0 {
			return nil, refusedSize
		}
		return c, refusal{}
	case c.op == backends.Flush:
		if h.offset != 0 || h.length != 0 {
			return nil, refusedFlush
		}
		return c, refusal{}
	case h.length == 0, (h.offset|h.length)&g.blockMask != 0:
		return nil, refusedAlign
	case c.payload && h.length > uint64(t.maxPayload):
		if c.op == backends.Read && t.dialect != simple {
			return nil, refusedLong
		}
		return nil, refusedPayload
	}
	if end := h.offset + h.length; end < h.offset {
		return nil, refusal{errInval, "range has no end"}
	} else if end > g.size {
		return nil, refusal{c.beyond, "range ends behind the export"}
	}
	return c, refusal{}
}
