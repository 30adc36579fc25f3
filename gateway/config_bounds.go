// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// Bounds on the input: a configuration of a thousand VMs is under 1 MiB.
const (
	// maxConfigBytes is exclusive: a file of 10 MiB is refused without being parsed.
	maxConfigBytes = 10 << 20
	// maxConfigDepth bounds nesting, and with it the parser's recursion.
	maxConfigDepth = 32
	// maxConfigColumn bounds the length of a line, since every block level costs a column.
	maxConfigColumn = 8192
	depthRule       = "at most 32 levels"
	// maxConfigKeys bounds one mapping: the parser's work grows with its square.
	maxConfigKeys = 64
	// maxFaults bounds what a broken file can make us report.
	maxFaults = 200
)

// checkText refuses what is not UTF-8 text before the library sees it.
func checkText(b []byte) (Fault, bool) {
	line, col := 1, 1
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return Fault{Line: line, Column: col, Message: fmt.Sprintf("byte %#02x is not UTF-8", b[i])}, false
		case r < ' ' && r != '\n' && r != '\t' && (r != '\r' || i+1 == len(b) || b[i+1] != '\n'), r == 0x7f:
			return Fault{Line: line, Column: col, Message: fmt.Sprintf("control character %#02x", r)}, false
		case col > maxConfigColumn:
			return Fault{Line: line, Column: col, Message: "line is too long", Rule: fmt.Sprintf("at most %d characters", maxConfigColumn)}, false
		}
		col++
		if r == '\n' {
			line, col = line+1, 1
		}
		i += n
	}
	return Fault{}, true
}

// checkTokens refuses aliases and their like, and bounds nesting and mappings, before
// the recursive parser runs.
func checkTokens(tokens token.Tokens) (faults []Fault) {
	s := shape{}
	for _, t := range tokens {
		p := at(t)
		msg, rule := "", ""
		switch t.Type {
		case token.AliasType, token.AnchorType, token.MergeKeyType:
			if len(faults) <= maxFaults {
				faults = append(faults, Fault{Line: p.line, Column: p.column, Message: noAliases, Rule: noAliasesRule})
			}
		case token.CommentType:
			continue
		default: // the others are counted
		}
		s.add(t.Type, p)
		switch {
		case len(s.block)+len(s.flow) > maxConfigDepth:
			msg, rule = "is nested too deeply", depthRule
		case s.keys() > maxConfigKeys:
			msg, rule = "is one key too many", fmt.Sprintf("at most %d in a mapping", maxConfigKeys)
		}
		if msg != "" {
			return append(faults, Fault{Line: p.line, Column: p.column, Message: msg, Rule: rule})
		}
	}
	return faults
}

// shape follows the nesting of a document by its tokens alone, as well as a bound
// needs it: by columns in block style, by brackets in flow style.
type shape struct {
	block []level // by rising place
	flow  []level
	line  int  // of the last token in block style
	opens bool // that token was a dash or question mark: a value begins behind it
}

// level is a mapping or sequence. place is its column, doubled, and one more for
// dashes, which may stand below a key in the key's own column.
type level struct{ place, keys int }

func (s *shape) add(typ token.Type, p position) {
	switch {
	case typ == token.SequenceStartType, typ == token.MappingStartType:
		s.enter(p, 0)
		s.flow = append(s.flow, level{})
	case len(s.flow) == 0:
		indicator := typ == token.SequenceEntryType || typ == token.MappingKeyType
		switch {
		case indicator:
			s.opens = s.opens || p.line != s.line
			s.enter(p, 1)
			s.opens = true
		default:
			s.enter(p, 0)
			s.opens = false
		}
	case typ == token.SequenceEndType, typ == token.MappingEndType:
		s.flow = s.flow[:len(s.flow)-1]
	case typ == token.MappingValueType:
		s.flow[len(s.flow)-1].keys++
	}
}

// enter is for the first token of a line or behind a dash: what it begins is in the
// level of its column, and ends those further right.
func (s *shape) enter(p position, dash int) {
	if len(s.flow) > 0 || p.line == s.line && !s.opens {
		return
	}
	s.line = p.line
	place := 2*p.column + dash
	for len(s.block) > 0 && s.block[len(s.block)-1].place > place {
		s.block = s.block[:len(s.block)-1]
	}
	if n := len(s.block); n == 0 || s.block[n-1].place < place {
		s.block = append(s.block, level{place: place})
	}
	s.block[len(s.block)-1].keys += 1 - dash
}

// keys is the number of keys so far in the mapping that the last token is in.
func (s *shape) keys() int {
	switch {
	case len(s.flow) > 0:
		return s.flow[len(s.flow)-1].keys
	case len(s.block) > 0:
		return s.block[len(s.block)-1].keys
	}
	return 0
}
