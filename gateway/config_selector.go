// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pathgate/multipath"
)

var errPathPattern = errors.New("does not name paths")

// optionKeys are the keys of `selector:` that some selectors have, in the order of
// multipath.SelectorOptions.
func optionKeys() []string {
	return []string{"iops", "bytes", "resample", "preferred", "settle", "below", "paths"}
}

// selector reads a selector by its name alone, or with options:
//
//	selector: round-robin
//	selector: {name: round-robin, iops: 8, weights: {"vmhba0:*": 2}}
func (d *decoder) selector(o object, s *multipath.Selection) {
	v, key, ok := o.get("selector")
	switch {
	case !ok:
		return
	case v.kind != kindMap:
		d.selectorName(v, key, &s.Name)
		return
	}
	m := d.object(v, key, append([]string{"name", "weights", "use-non-optimized"}, optionKeys()...)...)
	known := true
	if name, at, ok := m.get("name"); ok {
		known = d.selectorName(name, at, &s.Name)
	}
	m.bool("use-non-optimized", &s.UseNonOptimized)
	if w, at, ok := m.get("weights"); ok {
		d.weights(w, at, &s.Weights)
	}
	m.selectorOptions(s)
	has := multipath.SelectorKeys(s.Name)
	for _, k := range optionKeys() {
		if known && m.has(k) && !slices.Contains(has, k) {
			rule := "it has none but weights and use-non-optimized"
			if len(has) > 0 {
				rule = "it has " + strings.Join(has, ", ") + ", weights and use-non-optimized"
			}
			d.fault(joinKey(key, k), "is not an option of "+s.Name, rule)
		}
	}
}

// selectorName tells whether the name is known.
func (d *decoder) selectorName(v value, key string, into *string) bool {
	names, faults := multipath.SelectorNames(), len(d.faults)
	parseInto(d, v, key, into, func(s string) (string, error) {
		if !slices.Contains(names, s) {
			return "", errWord
		}
		return s, nil
	}, "one of "+strings.Join(names, ", "))
	return len(d.faults) == faults
}

// selectorOptions reads what some selectors have.
func (o object) selectorOptions(s *multipath.Selection) {
	number(o, "iops", &s.IOPS, 1, multipath.MaxTurnOps)
	parsed(o, "bytes", &s.Bytes, func(t string) (uint64, error) {
		n, err := ParseSize(t)
		if err == nil && (n < multipath.MinTurnBytes || n > multipath.MaxTurnBytes) {
			err = errOutOfRange
		}
		return uint64(n), err
	}, "512 to 1GiB")
	o.duration("resample", &s.Resample, multipath.MinResample, multipath.MaxResample)
	parsed(o, "preferred", &s.Preferred, parsePathPattern, pathPatternRule)
	o.duration("settle", &s.Settle, multipath.MinSettle, multipath.MaxSettle)
	number(o, "below", &s.Below, 1, multipath.MaxBelow)
	number(o, "paths", &s.Paths, 1, multipath.MaxLowPaths)
}

func number[T uint8 | uint32 | uint64 | int](o object, name string, into *T, low, high int) {
	n := int(*into)
	o.integer(name, &n, low, high)
	*into = T(n)
}

// weights reads a mapping of path patterns to weights, in its order.
func (d *decoder) weights(v value, key string, into *[]multipath.PathWeight) {
	if v.kind != kindMap {
		d.fault(key, "is "+v.kind.String(), "a mapping of paths to weights")
		return
	}
	if len(v.entries) > multipath.MaxPathWeights {
		d.fault(key, "has too many entries", fmt.Sprintf("at most %d", multipath.MaxPathWeights))
		return
	}
	for _, e := range v.entries {
		w := multipath.PathWeight{Path: e.key}
		at := joinKey(key, e.key)
		if _, err := parsePathPattern(e.key); err != nil {
			d.fault(at, "is for "+strconv.Quote(e.key)+", which is no path", pathPatternRule)
			continue
		}
		number(object{d: d, v: v, key: key}, e.key, &w.Weight, 1, multipath.MaxPathWeight)
		*into = append(*into, w)
	}
}

const pathPatternRule = `a path such as vmhba0:0:1, or a beginning and *, such as "vmhba0:*"`

func parsePathPattern(s string) (string, error) {
	if !multipath.ValidPathPattern(s) {
		return "", errPathPattern
	}
	return s, nil
}
