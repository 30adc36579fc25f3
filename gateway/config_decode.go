// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// source remembers where a configuration's values stand in its file.
type source struct {
	file  string
	text  []byte
	place map[string]placed
}

// placed is a value's position and text.
type placed struct {
	pos  position
	text string
}

// index notes the place of every value under v.
func (s *source) index(v value, key string) {
	s.place[key] = placed{v.pos, v.text}
	for i, item := range v.items {
		s.index(item, fmt.Sprintf("%s[%d]", key, i))
	}
	for _, e := range v.entries {
		s.index(e.val, joinKey(key, e.key))
	}
}

// fault makes a fault at key, or at the nearest parent of it that the file has.
func (s *source) fault(key, msg, rule string) Fault {
	f := Fault{File: s.file, Key: key, Message: msg, Rule: rule}
	if p, ok := s.place[key]; ok {
		f.Line, f.Column, f.Value = p.pos.line, p.pos.column, p.text
		return f
	}
	for k := key; k != ""; {
		k = k[:max(0, strings.LastIndexAny(k, ".["))]
		if p, ok := s.place[k]; ok {
			f.Line, f.Column = p.pos.line, p.pos.column
			break
		}
	}
	return f
}

// decoder turns values into a Config, and notes every fault instead of ending at
// the first. Reading a field that is absent or wrong leaves its default.
type decoder struct {
	src    *source
	faults []Fault
}

func (d *decoder) fault(key, msg, rule string) {
	d.faults = append(d.faults, d.src.fault(key, msg, rule))
}

// object is a mapping being read.
type object struct {
	d   *decoder
	v   value
	key string
}

// object checks that v is a mapping with known keys only.
func (d *decoder) object(v value, key string, known ...string) object {
	o := object{d: d, v: v, key: key}
	switch v.kind {
	case kindMap, kindBad:
	case kindNull:
		o.v.kind = kindMap
	default:
		d.fault(key, "is "+v.kind.String(), "a mapping")
		o.v.kind = kindBad
	}
	for _, e := range v.entries {
		if slices.Contains(known, e.key) {
			continue
		}
		f := d.src.fault(joinKey(key, e.key), "unknown key", "one of "+strings.Join(known, ", "))
		f.Line, f.Column, f.Value = e.pos.line, e.pos.column, ""
		d.faults = append(d.faults, f)
	}
	return o
}

func (o object) get(name string) (v value, key string, ok bool) {
	key = joinKey(o.key, name)
	for _, e := range o.v.entries {
		if e.key == name {
			return e.val, key, e.val.kind != kindBad
		}
	}
	return v, key, false
}

// has is true also when the value is bad.
func (o object) has(name string) bool {
	return slices.ContainsFunc(o.v.entries, func(e entry) bool { return e.key == name })
}

// require notes a missing key.
func (o object) require(name string) {
	if o.v.kind == kindMap && !o.has(name) {
		o.d.fault(joinKey(o.key, name), "is missing", "")
	}
}

// checker tells what is wrong with a text; both results are empty when nothing is.
type checker func(s string) (msg, rule string)

// text reads a scalar of any type as it is written.
func (o object) text(name string, into *string, check checker) {
	v, key, ok := o.get(name)
	if !ok {
		return
	}
	o.d.text(v, key, into, check)
}

func (d *decoder) text(v value, key string, into *string, check checker) {
	if v.kind == kindBad {
		return
	}
	if v.kind != kindScalar {
		rule := "a text"
		if v.kind == kindMap { // the decoder takes a:1 inside braces for a mapping
			rule = "a text, in quotes if it has a colon"
		}
		d.fault(key, "is "+v.kind.String(), rule)
		return
	}
	if msg, rule := check(v.text); msg != "" {
		d.fault(key, msg, rule)
		return
	}
	*into = v.text
}

// parsed reads a text through parse; its error is the message.
func parsed[T any](o object, name string, into *T, parse func(string) (T, error), rule string) {
	v, key, ok := o.get(name)
	if ok {
		parseInto(o.d, v, key, into, parse, rule)
	}
}

func parseInto[T any](d *decoder, v value, key string, into *T, parse func(string) (T, error), rule string) {
	var s string
	d.text(v, key, &s, func(s string) (string, string) {
		t, err := parse(s)
		if err != nil {
			return err.Error(), rule
		}
		*into = t
		return "", ""
	})
}

// list calls each for every item. A list that is there must not be empty.
func (o object) list(name string, each func(v value, key string)) {
	v, key, ok := o.get(name)
	switch {
	case !ok:
	case v.kind == kindNull, v.kind == kindList && len(v.items) == 0:
		o.d.fault(key, "is empty", "at least one entry")
	case v.kind != kindList:
		o.d.fault(key, "is "+v.kind.String(), "a list")
	default:
		for i, item := range v.items {
			each(item, fmt.Sprintf("%s[%d]", key, i))
		}
	}
}

func (o object) bool(name string, into *bool) {
	v, key, ok := o.get(name)
	if !ok {
		return
	}
	if v.kind != kindScalar || v.tag != "bool" {
		o.d.fault(key, "is not a truth value", "true or false")
		return
	}
	*into = strings.EqualFold(v.text, "true")
}

// integer reads a plain decimal number.
func (o object) integer(name string, into *int, low, high int) {
	v, key, ok := o.get(name)
	if !ok {
		return
	}
	n, err := strconv.Atoi(v.text)
	if v.kind != kindScalar || v.tag != "integer" || err != nil || n < low || n > high {
		o.d.fault(key, "is not in range", fmt.Sprintf("a whole number from %d to %d", low, high))
		return
	}
	*into = n
}

func (o object) duration(name string, into *time.Duration, low, high time.Duration) {
	parsed(o, name, into, func(s string) (time.Duration, error) { return parseDuration(s, low, high) },
		durationRule(low, high))
}

// parseDuration reads a Go duration; a bare 0 is allowed where low is 0.
func parseDuration(s string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errDuration
	case d < low || d > high:
		return 0, errDurationRange
	}
	return d, nil
}

func durationRule(low, high time.Duration) string {
	return "such as 500ms, 2s or 1m30s, from " + shortDuration(low) + " to " + shortDuration(high)
}

// shortDuration leaves out the zero minutes and seconds of "24h0m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// enum reads one of several words.
func enum[T ~string](o object, name string, into *T, words ...T) {
	rule := make([]string, len(words))
	for i, w := range words {
		rule[i] = string(w)
	}
	parsed(o, name, into, func(s string) (T, error) {
		if !slices.Contains(words, T(s)) {
			return "", errWord
		}
		return T(s), nil
	}, "one of "+strings.Join(rule, ", "))
}

// size reads a Size that is a multiple of the smallest block.
func (o object) size(name string, into *Size, zero bool) {
	rule := sizeRule
	if !zero {
		rule += ", not 0"
	}
	parsed(o, name, into, func(s string) (Size, error) {
		n, err := ParseSize(s)
		switch {
		case err != nil:
			return 0, err
		case n%sectorSize != 0:
			return 0, errSizeAlign
		case n == 0 && !zero:
			return 0, errSizeZero
		}
		return n, nil
	}, rule)
}
