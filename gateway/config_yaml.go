// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	noAliases     = "anchors, aliases and merge keys are not used here"
	noAliasesRule = `write the value out; a star is written "*"`
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
	// The library miscounts lines that end in CR LF.
	tokens := lexer.Tokenize(strings.ReplaceAll(string(b), "\r\n", "\n"))
	if faults := checkTokens(tokens); len(faults) > 0 {
		return root, faults
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
			c.fault(c.convert(d.Body, "").pos, "", "is a second document", "one document in a file")
			break
		}
		root = c.convert(d.Body, "")
	}
	if docs == 0 {
		c.fault(position{1, 1}, "", "is empty", "")
	}
	return root, c.faults
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

func (c *converter) fault(p position, key, msg, rule string) {
	c.faults = append(c.faults, Fault{Line: p.line, Column: p.column, Key: key, Message: msg, Rule: rule})
}

func (c *converter) convert(n ast.Node, key string) value {
	v := value{pos: at(n.GetToken())}
	if c.depth++; c.depth > maxConfigDepth {
		c.fault(v.pos, key, "is nested too deeply", depthRule)
		c.depth--
		v.kind = kindBad
		return v
	}
	defer func() { c.depth-- }()
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		c.mapping(&v, n.Values, key, n.IsFlowStyle)
	case *ast.MappingValueNode:
		c.mapping(&v, []*ast.MappingValueNode{n}, key, n.IsFlowStyle)
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
		c.fault(v.pos, key, noAliases, noAliasesRule)
	case *ast.TagNode:
		v.kind = kindBad
		c.fault(v.pos, key, "tags are not used here", "")
	default:
		v.kind = kindBad
		c.fault(v.pos, key, "is not understood", "mappings, lists and plain values")
	}
	return v
}

// mapping converts entries; the first of equal keys counts. The library's token of a
// block mapping is its first colon: v stands at the first key instead.
func (c *converter) mapping(v *value, values []*ast.MappingValueNode, key string, flow bool) {
	v.kind = kindMap
	if !flow && len(values) > 0 {
		v.pos = at(values[0].Key.GetToken())
	}
	seen := make(map[string]int, len(values))
	for _, mv := range values {
		e := entry{pos: at(mv.Key.GetToken())}
		switch k := mv.Key.(type) {
		case *ast.StringNode:
			e.key = k.Value
		case *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode, *ast.NullNode:
			e.key = k.GetToken().Value
		default:
			c.fault(e.pos, key, "is not a plain key", "")
			continue
		}
		child := joinKey(key, e.key)
		if line, dup := seen[e.key]; dup {
			c.fault(e.pos, child, "is given twice", fmt.Sprintf("first in line %d", line))
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
