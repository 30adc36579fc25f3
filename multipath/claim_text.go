// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The text form of a rule is number, action and keys, as in
//
//	100 mask adapter=vmhba0 lun=0-7 vendor="ACME X"
//
// A value is in quotes, as a Go string, where it has a blank or anything else that a
// shell would take for its own.

const (
	// maxClaimText bounds a value: the longest iSCSI name (RFC 7143 4.2.7.1).
	maxClaimText = 223
	// maxClaimLUN is the largest LUN of flat addressing (SAM).
	maxClaimLUN = 16383
	// claimPort is the port of a portal that has none (RFC 7143 13.1).
	claimPort = 3260
)

// ClaimKeys are the names of the keys, in the order of the text form.
func ClaimKeys() []string {
	names := make([]string, 0, len(claimKeys))
	for _, k := range claimKeys {
		names = append(names, k.name)
	}
	return names
}

// claimKeys is the one table of keys. text is nil for the range of LUNs.
var claimKeys = [...]struct {
	name string
	text func(*ClaimMatch) *string
}{
	{"adapter", func(m *ClaimMatch) *string { return &m.Adapter }},
	{"portal", func(m *ClaimMatch) *string { return &m.Portal }},
	{"target", func(m *ClaimMatch) *string { return &m.Target }},
	{"lun", nil},
	{"path", func(m *ClaimMatch) *string { return &m.Path }},
	{"identity", func(m *ClaimMatch) *string { return &m.Identity }},
	{"vendor", func(m *ClaimMatch) *string { return &m.Vendor }},
	{"product", func(m *ClaimMatch) *string { return &m.Product }},
	{"revision", func(m *ClaimMatch) *string { return &m.Revision }},
}

// Key gives the value of a key in its text form; "" where it is not set.
func (m *ClaimMatch) Key(name string) string {
	for _, k := range claimKeys {
		switch {
		case k.name != name:
		case k.text == nil:
			return m.LUN.String()
		default:
			return *k.text(m)
		}
	}
	return ""
}

// SetKey sets a key to a value in text form. An error changes nothing.
func (m *ClaimMatch) SetKey(name, value string) error {
	for _, k := range claimKeys {
		if k.name != name {
			continue
		}
		if k.text == nil {
			s, err := ParseLUNSpan(value)
			if err == nil {
				m.LUN = s
			}
			return err
		}
		v, err := claimText(name, value)
		if err == nil {
			*k.text(m) = v
		}
		return err
	}
	return fmt.Errorf("is not a key: %s", strings.Join(ClaimKeys(), ", "))
}

// What is wrong with a value.
var (
	errClaimEmpty   = errors.New("is empty")
	errClaimText    = fmt.Errorf("is not a pattern: 1 to %d printable characters, no blank at either end", maxClaimText)
	errClaimPortal  = errors.New("is no portal: an address and a port (3260 when left out), IPv6 in brackets, or a pattern with *")
	errClaimLUN     = fmt.Errorf("is not a range of LUNs: such as 5 or 0-7, at most %d", maxClaimLUN)
	errClaimNumber  = fmt.Errorf("is not the number of a rule: 1 to %d", MaxClaimRule)
	errClaimAction  = errors.New("is not an action: use or mask")
	errClaimNothing = errors.New(`has no key to match: path "*" stands for all paths`)
)

// claimText is value in the form in which it is compared.
func claimText(name, value string) (string, error) {
	switch {
	case value == "":
		return "", errClaimEmpty
	case len(value) > maxClaimText || !utf8.ValidString(value) || strings.TrimSpace(value) != value ||
		strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errClaimText
	case name == "target":
		return strings.ToLower(value), nil
	case name == "portal" && !strings.Contains(value, "*"):
		return claimPortal(value)
	}
	return value, nil
}

// claimPortal gives "address:port" as paths have it.
func claimPortal(s string) (string, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String(), nil
	}
	bare, inner := strings.CutPrefix(s, "[")
	if inner {
		if bare, inner = strings.CutSuffix(bare, "]"); !inner {
			return "", errClaimPortal
		}
	}
	a, err := netip.ParseAddr(bare)
	if err != nil || a.Is6() != (bare != s) {
		return "", errClaimPortal
	}
	return netip.AddrPortFrom(a.Unmap(), claimPort).String(), nil
}

// ParseLUNSpan reads "5" or "0-7".
func ParseLUNSpan(s string) (LUNSpan, error) {
	a, b, both := strings.Cut(s, "-")
	first, err := claimLUN(a)
	last := first
	if both && err == nil {
		last, err = claimLUN(b)
	}
	if err != nil || last < first {
		return LUNSpan{}, errClaimLUN
	}
	return LUNs(first, last), nil
}

func claimLUN(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > maxClaimLUN || s != strconv.FormatUint(n, 10) {
		return 0, errClaimLUN
	}
	return uint16(n), nil
}

// String is the reverse of ParseLUNSpan; "" for none.
func (s LUNSpan) String() string {
	switch {
	case s.End == 0:
		return ""
	case s.End-s.First == 1:
		return strconv.Itoa(int(s.First))
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last())
}

// String is the text form of the keys.
func (m ClaimMatch) String() string {
	var parts []string
	for _, k := range claimKeys {
		if v := m.Key(k.name); v != "" {
			parts = append(parts, k.name+"="+quoteClaim(v))
		}
	}
	return strings.Join(parts, " ")
}

// quoteClaim puts a value in quotes where it needs them. A * needs none: there is
// hardly a file that begins with "path=".
func quoteClaim(v string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:,+=@/*[]", r)
	}
	if strings.ContainsFunc(v, func(r rune) bool { return !plain(r) }) {
		return strconv.Quote(v)
	}
	return v
}

// String is the text form, "100 mask lun=5".
func (r ClaimRule) String() string { return fmt.Sprintf("%d %v %v", r.Number, r.Action, r.Match) }

// MarshalText is String.
func (r ClaimRule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseClaimRule.
func (r *ClaimRule) UnmarshalText(b []byte) (err error) {
	*r, err = ParseClaimRule(string(b))
	return err
}

// ParseClaimAction reads "use" or "mask".
func ParseClaimAction(s string) (ClaimAction, error) {
	for _, a := range []ClaimAction{ClaimUse, ClaimMask} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, errClaimAction
}

// ParseClaimRule reads the text form. What it gives is valid.
func ParseClaimRule(s string) (r ClaimRule, err error) {
	number, rest, _ := strings.Cut(s, " ")
	action, rest, _ := strings.Cut(rest, " ")
	if r.Number, err = strconv.Atoi(number); err != nil {
		return ClaimRule{}, fmt.Errorf("claim rule %q: %w", number, errClaimNumber)
	}
	if r.Action, err = ParseClaimAction(action); err != nil {
		return ClaimRule{}, fmt.Errorf("claim rule %s: %q %w", number, action, err)
	}
	for rest != "" {
		var key, value string
		if key, value, rest, err = cutClaimKey(rest); err != nil {
			return ClaimRule{}, fmt.Errorf("claim rule %s: %w", number, err)
		}
		if r.Match.Key(key) != "" {
			return ClaimRule{}, fmt.Errorf("claim rule %s: %s is given twice", number, key)
		}
		if err := r.Match.SetKey(key, value); err != nil {
			return ClaimRule{}, fmt.Errorf("claim rule %s: %s %q %w", number, key, value, err)
		}
	}
	if err := r.normalize(); err != nil {
		return ClaimRule{}, fmt.Errorf("claim rule %s: %w", number, err)
	}
	return r, nil
}

// cutClaimKey takes one key=value off the front of s.
func cutClaimKey(s string) (key, value, rest string, err error) {
	key, s, ok := strings.Cut(s, "=")
	if !ok || key == "" || strings.ContainsAny(key, " \"") {
		return "", "", "", fmt.Errorf("%q is not key=value", key)
	}
	if !strings.HasPrefix(s, `"`) {
		value, rest, more := strings.Cut(s, " ")
		if value == "" || quoteClaim(value) != value || more && rest == "" {
			return "", "", "", fmt.Errorf("the value of %s has to be in quotes", key)
		}
		return key, value, rest, nil
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		value, err = strconv.Unquote(quoted)
	}
	rest, ok = strings.CutPrefix(s[len(quoted):], " ")
	if err != nil || ok && rest == "" || !ok && len(quoted) < len(s) {
		return "", "", "", fmt.Errorf("the value of %s is not well quoted", key)
	}
	return key, value, rest, nil
}

// normalize checks a rule by itself, and brings its values into the form in which
// they are compared.
func (r *ClaimRule) normalize() error {
	if r.Number < 1 || r.Number > MaxClaimRule {
		return fmt.Errorf("%d %w", r.Number, errClaimNumber)
	}
	if r.Action != ClaimUse && r.Action != ClaimMask {
		return errClaimAction
	}
	set := r.Match.LUN.End > 0
	if l := r.Match.LUN; set && (l.End <= l.First || l.Last() > maxClaimLUN) {
		return fmt.Errorf("lun %w", errClaimLUN)
	}
	for _, k := range claimKeys {
		if k.text == nil || *k.text(&r.Match) == "" {
			continue
		}
		v, err := claimText(k.name, *k.text(&r.Match))
		if err != nil {
			return fmt.Errorf("%s %q %w", k.name, *k.text(&r.Match), err)
		}
		*k.text(&r.Match), set = v, true
	}
	if !set {
		return errClaimNothing
	}
	return nil
}
