// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// contexts is a set of metadata contexts, as bits. The ID of a context is its bit.
type contexts uint32

const (
	// metaAllocation is base:allocation: what is a hole, what reads as zeros.
	metaAllocation contexts = 1 << iota
	// metaPaths is pathgate:paths: which extents are in danger.
	metaPaths
)

// metaContexts names the contexts that every export has, in the order in which
// they are told.
var metaContexts = [...]struct {
	id   contexts
	name string
}{
	{metaAllocation, "base:allocation"},
	{metaPaths, "pathgate:paths"},
}

// Flags of an extent in base:allocation (NBD proto.md "base:allocation").
const (
	stateHole = 1 << 0
	stateZero = 1 << 1
)

// Flags of an extent in pathgate:paths.
const (
	// PathsDegraded: the extent is served by fewer paths than it has.
	PathsDegraded = 1 << 0
	// PathsNone: no path serves it now; requests wait, or fail.
	PathsNone = 1 << 1
	// PathsHeld: changes wait, since one that was sent over a lost path may still be carried
	// out. It comes with PathsDegraded.
	PathsHeld = 1 << 2
)

// metaRequest is the data of LIST_META_CONTEXT and SET_META_CONTEXT.
type metaRequest struct {
	export  string
	queries []string
}

// decodeMeta takes all of data (NBD proto.md "NBD_OPT_LIST_META_CONTEXT").
func decodeMeta(data []byte) (metaRequest, error) {
	var r metaRequest
	name, rest, ok := cutString(data)
	switch {
	case !ok || len(rest) < 4:
		return r, errors.New("option is too short")
	case !validName(name):
		return r, errors.New("name is no valid string")
	}
	r.export = string(name)
	count := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	if uint64(count) > uint64(len(rest)/4) {
		return r, errors.New("more queries than the option has room for")
	}
	for range count {
		var q []byte
		if q, rest, ok = cutString(rest); !ok {
			return r, errors.New("query is longer than the option")
		}
		if !validName(q) || bytes.IndexByte(q, ':') <= 0 {
			return r, errors.New("query is no valid string with a namespace")
		}
		r.queries = append(r.queries, string(q))
	}
	if len(rest) > 0 {
		return r, errors.New("number of queries does not fit the option")
	}
	return r, nil
}

// cutString takes a string that follows its length.
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// list tells which contexts the queries ask for; no query asks for all, and a
// namespace alone for all of it.
func (r *metaRequest) list() contexts {
	var all contexts
	for _, m := range metaContexts {
		if len(r.queries) == 0 {
			all |= m.id
		}
		for _, q := range r.queries {
			if q == m.name || strings.HasSuffix(q, ":") && strings.HasPrefix(m.name, q) {
				all |= m.id
			}
		}
	}
	return all
}

// set tells which contexts the queries select.
func (r *metaRequest) set() contexts {
	var all contexts
	for _, m := range metaContexts {
		for _, q := range r.queries {
			if q == m.name {
				all |= m.id
			}
		}
	}
	return all
}

// meta answers LIST_META_CONTEXT and SET_META_CONTEXT. Whatever SET ends with,
// what was selected before is forgotten. The export is not opened: all have the
// same contexts, and one that is unknown, or has to be waited for, shows with GO.
func (c *conn) meta(o option, data []byte) error {
	if o == optSetMetaContext {
		c.selected, c.selectedOf = 0, ""
	}
	if c.terms.dialect == simple {
		return c.replyError(o, repErrInvalid, "structured replies have not been negotiated")
	}
	req, err := decodeMeta(data)
	if err != nil {
		return c.replyError(o, repErrInvalid, err.Error())
	}
	found := req.list()
	if o == optSetMetaContext {
		found = req.set()
		c.selected, c.selectedOf = found, req.export
	}
	for _, m := range metaContexts {
		if found&m.id == 0 {
			continue
		}
		id := m.id
		if o == optListMetaContext {
			id = 0 // reserved
		}
		b := binary.BigEndian.AppendUint32(nil, uint32(id))
		if err := c.reply(o, repMetaContext, append(b, m.name...)); err != nil {
			return err
		}
	}
	return c.reply(o, repAck, nil)
}

// improve answers STRUCTURED_REPLY and EXTENDED_HEADERS.
func (c *conn) improve(o option, data []byte) error {
	want := structured
	if o == optExtendedHeaders {
		want = extended
	}
	switch {
	case len(data) > 0:
		return c.replyError(o, repErrInvalid, "option has no data")
	case c.terms.dialect == extended && want == structured:
		return c.replyError(o, repErrExtHeadersReqd, "extended headers have been negotiated")
	case c.terms.dialect >= want:
		return c.replyError(o, repErrInvalid, "option has been negotiated already")
	}
	c.terms.dialect = want
	return c.reply(o, repAck, nil)
}
