// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
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
	// maxFaults bounds what a broken file can make us report.
	maxFaults = 200
)

// position is a place in the file, both from 1.
type position struct{ line, column int }

// kind is what a YAML value is.
type kind uint8

const (
	kindNull kind = iota
	kindScalar
	kindList
	kindMap
	kindBad // already reported; the decoder is silent about it
)

func (k kind) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping", "not understood"}[k]
}

// value is a YAML value with its place, all that the decoder sees of the library.
type value struct {
	kind kind
	pos  position
	text string // scalar as written, quotes removed
	tag  string // scalar type by YAML's rules: "string", "integer", "float", "bool"

	items   []value // kindList
	entries []entry // kindMap, in file order
}

// entry is one key of a mapping.
type entry struct {
	key string
	pos position
	val value
}

// parseYAML turns a document into values. Aliases, merge keys and tags are refused:
// a configuration has no use for them, and aliases make small files huge.
// A fault with position 0 concerns the whole file.
func parseYAML(b []byte) (root value, faults []Fault) {
	if len(b) >= maxConfigBytes {
		return root, []Fault{{Message: "is too large", Rule: "less than 10 MiB"}}
	}
	if f, ok := checkText(b); !ok {
		return root, []Fault{f}
	}
	tokens := lexer.Tokenize(string(b))
	if f, ok := checkTokens(tokens); !ok {
		return root, []Fault{f}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return root, []Fault{syntaxFault(err)}
	}
	c := converter{}
	docs := 0
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if docs++; docs > 1 {
			p := at(d.Body.GetToken())
			c.fault(p, "", "", "is a second document", "one document in a file")
			break
		}
		root = c.convert(d.Body, "")
	}
	return root, c.faults
}

// checkText refuses what is not UTF-8 text before the library sees it.
func checkText(b []byte) (Fault, bool) {
	line, col := 1, 1
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return Fault{Line: line, Column: col, Message: fmt.Sprintf("byte %#02x is not UTF-8", b[i])}, false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
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

// checkTokens bounds flow and block nesting before the recursive parser runs.
func checkTokens(tokens token.Tokens) (Fault, bool) {
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.TagType, token.AnchorType:
			if t.Position.Line != line {
				line, dashes = t.Position.Line, 0
			}
			if flow == 0 {
				dashes++
			}
		}
		if flow > maxConfigDepth || dashes > maxConfigDepth || t.Position.IndentLevel > maxConfigDepth {
			p := at(t)
			return Fault{Line: p.line, Column: p.column, Message: "is nested too deeply", Rule: fmt.Sprintf("at most %d levels", maxConfigDepth)}, false
		}
	}
	return Fault{}, true
}

func syntaxFault(err error) Fault {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return Fault{Message: err.Error()}
	}
	f := Fault{Message: ye.GetMessage()}
	if t := ye.GetToken(); t != nil {
		p := at(t)
		f.Line, f.Column = p.line, p.column
	}
	return f
}

func at(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// converter makes values of the library's nodes and notes what is refused.
type converter struct {
	faults []Fault
	depth  int
}

func (c *converter) fault(p position, key, val, msg, rule string) {
	c.faults = append(c.faults, Fault{Line: p.line, Column: p.column, Key: key, Value: val, Message: msg, Rule: rule})
}

func (c *converter) convert(n ast.Node, key string) value {
	v := value{pos: at(n.GetToken())}
	if c.depth++; c.depth > maxConfigDepth {
		c.fault(v.pos, key, "", "is nested too deeply", fmt.Sprintf("at most %d levels", maxConfigDepth))
		c.depth--
		v.kind = kindBad
		return v
	}
	defer func() { c.depth-- }()
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		if n.Start != nil && n.IsFlowStyle {
			v.pos = at(n.Start)
		}
		c.mapping(&v, n.Values, key)
	case *ast.MappingValueNode:
		c.mapping(&v, []*ast.MappingValueNode{n}, key)
	case *ast.SequenceNode:
		v.kind = kindList
		for i, item := range n.Values {
			v.items = append(v.items, c.convert(item, fmt.Sprintf("%s[%d]", key, i)))
		}
	case *ast.LiteralNode:
		v.kind, v.tag = kindScalar, "string"
		if n.Value != nil {
			v.text = n.Value.Value
		}
	case *ast.StringNode:
		v.kind, v.tag, v.text = kindScalar, "string", n.Value
	case *ast.IntegerNode:
		v.kind, v.tag, v.text = kindScalar, "integer", n.Token.Value
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.tag, v.text = kindScalar, "float", n.GetToken().Value
	case *ast.BoolNode:
		v.kind, v.tag, v.text = kindScalar, "bool", n.Token.Value
	case *ast.AliasNode, *ast.AnchorNode:
		v.kind = kindBad
		c.fault(v.pos, key, "", "anchors and aliases are not used here", `write the value out; a lone * is written "*"`)
	case *ast.TagNode:
		v.kind = kindBad
		c.fault(v.pos, key, "", "tags are not used here", "")
	default:
		v.kind = kindBad
		c.fault(v.pos, key, "", "is not understood", "mappings, lists and plain values")
	}
	return v
}

// mapping converts entries; the first of equal keys counts.
func (c *converter) mapping(v *value, values []*ast.MappingValueNode, key string) {
	v.kind = kindMap
	seen := make(map[string]int, len(values))
	for _, mv := range values {
		e := entry{pos: at(mv.Key.GetToken())}
		switch k := mv.Key.(type) {
		case *ast.StringNode:
			e.key = k.Value
		case *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode, *ast.NullNode:
			e.key = k.GetToken().Value
		default:
			c.fault(e.pos, key, "", "is not a plain key", "")
			continue
		}
		child := joinKey(key, e.key)
		if line, dup := seen[e.key]; dup {
			c.fault(e.pos, child, "", "is given twice", fmt.Sprintf("first in line %d", line))
			continue
		}
		seen[e.key] = e.pos.line
		e.val = value{pos: e.pos}
		if mv.Value != nil {
			e.val = c.convert(mv.Value, child)
		}
		v.entries = append(v.entries, e)
	}
}

func joinKey(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}
