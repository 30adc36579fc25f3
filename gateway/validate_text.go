// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Rules for single values. Names come back in export names, logs, metrics and file
// names, so they are held to an allow-list.

// ValidName tells whether s may name an adapter, a VM, a disk or an alias: 1 to 63
// letters, digits, "-", "_" and ".", beginning with a letter or digit.
func ValidName(s string) bool {
	if s == "" || len(s) > 63 || strings.Contains(s, "..") || !alphanumeric(s[0]) {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && !strings.ContainsRune("-_.", rune(s[i])) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func checkName(s string) (msg, rule string) {
	if ValidName(s) {
		return "", ""
	}
	return "is not a name", `1 to 63 letters, digits, "-", "_", ".", beginning with a letter or digit, no ".."`
}

// checkLUNName accepts identities, aliases and canonical names. T10 vendor ids hold
// spaces and most of ASCII, but never a slash, quote, star or percent sign here.
func checkLUNName(s string) (msg, rule string) {
	const rule0 = `1 to 223 letters, digits, inner spaces and "-_.:+=@,#"`
	if s == "" || len(s) > 223 || strings.TrimSpace(s) != s || strings.Contains(s, "..") {
		return "is not the name of a LUN", rule0
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && !strings.ContainsRune("-_.:+=@,# ", rune(s[i])) {
			return "is not the name of a LUN", rule0
		}
	}
	return "", ""
}

// checkLUNPattern is a LUN name, or a file's, that may end in a star.
func checkLUNPattern(s string) (msg, rule string) {
	if s == "*" {
		return "", ""
	}
	if path, ok := strings.CutPrefix(s, fileDevicePrefix); ok {
		prefix, _ := strings.CutSuffix(path, "*")
		if prefix != "/" || path == "/" {
			msg, rule = checkPath(prefix)
		}
		return msg, rule
	}
	msg, rule = checkLUNName(strings.TrimSuffix(s, "*"))
	if msg != "" {
		rule += `; a "*" at the end only`
	}
	return msg, rule
}

// checkPath wants an absolute, clean path, since a service has no useful directory
// of its own and two spellings of one path must not look like two files.
func checkPath(s string) (msg, rule string) {
	const rule0 = "an absolute path without . or .. parts"
	switch {
	case len(s) > 4095 || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "is not a path", rule0
	case !filepath.IsAbs(s):
		return "is not an absolute path", rule0
	case filepath.Clean(s) != strings.TrimSuffix(s, "/") && s != "/":
		return "is not a clean path", rule0
	case s == "/":
		return "is the root directory", rule0
	}
	return "", ""
}

func checkInterface(s string) (msg, rule string) {
	// dev_valid_name of the kernel: no slash, colon or space; neither "." nor "..".
	if s == "" || len(s) > 15 || s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("/:%", r)
	}) {
		return "is not an interface name", `1 to 15 printable characters without "/", ":", "%" and spaces`
	}
	return "", ""
}

func checkUser(s string) (msg, rule string) {
	if s == "" || len(s) > 255 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "is not a CHAP name", "1 to 255 bytes without control characters"
	}
	return "", ""
}

// RFC 7143 4.2.7 (iSCSI Names): 4.2.7.4 iqn, 4.2.7.5 eui, 4.2.7.6 naa.
var iscsiName = regexp.MustCompile(`^(iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-z0-9][a-z0-9.-]*(:[a-z0-9.:_-]+)?|eui\.[0-9a-f]{16}|naa\.[0-9a-f]{16}|naa\.[0-9a-f]{32})$`)

// ValidISCSIName tells whether s is an iSCSI name in its normal form (lower case), at
// most 223 bytes.
func ValidISCSIName(s string) bool { return len(s) <= 223 && iscsiName.MatchString(s) }

const iscsiNameRule = "iqn.YYYY-MM.domain:text, eui. or naa., at most 223 bytes"

func checkISCSIName(s string) (msg, rule string) {
	if !ValidISCSIName(s) {
		return "is not an iSCSI name", iscsiNameRule + ", lower case"
	}
	return "", ""
}

// checkTargetName is lax about case, since targets in the field are.
func checkTargetName(s string) (msg, rule string) {
	if !ValidISCSIName(strings.ToLower(s)) {
		return "is not an iSCSI name", iscsiNameRule
	}
	return "", ""
}

var (
	errPort    = errors.New("has no port from 1 to 65535")
	errHost    = errors.New("is neither an address nor a host name")
	errAddr    = errors.New("is not an address")
	errUseAddr = errors.New("is not an address that can be bound")
	errNetwork = errors.New("is not a network")
	errListen  = errors.New("is not a listen address")
	errSocket  = errors.New("is not a socket path")
	errRange   = errors.New("is not a range of LUNs")
	errWord    = errors.New("is not known")
)

// hostPort splits "host", "host:port", "[v6]" and "[v6]:port".
func hostPort(s string, port uint16) (host string, p uint16, err error) {
	host, rest := s, ""
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if host, rest, ok = strings.Cut(inner, "]"); !ok {
			return "", 0, errAddr
		}
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, errAddr
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, rest = s[:i], s[i:]
		if strings.Contains(host, ":") {
			return "", 0, errAddr // IPv6 without brackets
		}
	}
	if rest == "" {
		return host, port, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
	if err != nil || n == 0 || rest[0] != ':' || rest[1] == '+' {
		return "", 0, errPort
	}
	return host, uint16(n), nil
}

var hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)

// parsePortal keeps names as they are; addresses come out in their normal form, so
// that equal portals compare equal.
func parsePortal(s string) (Portal, error) {
	host, port, err := hostPort(s, DefaultISCSIPort)
	if err != nil {
		return Portal{}, err
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() || a.IsMulticast() {
			return Portal{}, errHost
		}
		return Portal{a.Unmap().String(), port}, nil
	}
	// Digits and dots alone are a mistyped address, not a name.
	if len(host) > 253 || !hostName.MatchString(host) || strings.Trim(host, "0123456789.") == "" {
		return Portal{}, errHost
	}
	return Portal{strings.ToLower(host), port}, nil
}

func parseSourceAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, errAddr
	case a.IsUnspecified() || a.IsMulticast():
		return netip.Addr{}, errUseAddr
	}
	return a.Unmap(), nil
}

// parseNetwork takes a prefix or a single address; host bits are dropped.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errNetwork
	}
	return p.Masked(), nil
}

// parseUnix checks a socket path; sun_path holds 108 bytes with its end (unix(7)).
func parseUnix(path string) (ListenAddr, error) {
	if msg, _ := checkPath(path); msg != "" || len(path) > 107 || strings.HasSuffix(path, "/") {
		return ListenAddr{}, errSocket
	}
	return ListenAddr{"unix", path}, nil
}

func parseControl(s string) (ListenAddr, error) {
	path, ok := strings.CutPrefix(s, "unix:")
	if !ok {
		return ListenAddr{}, errSocket
	}
	return parseUnix(path)
}

func parseNBDListen(s string) (ListenAddr, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(path)
	}
	if name, ok := strings.CutPrefix(s, systemdNetwork+":"); ok {
		return parsePassed(name)
	}
	return parseTCPListen(s, DefaultNBDPort)
}

func parseTCPListen(s string, port uint16) (ListenAddr, error) {
	host, port, err := hostPort(s, port)
	if err != nil {
		return ListenAddr{}, err
	}
	if host == "" && strings.HasPrefix(s, ":") {
		return ListenAddr{"tcp", Portal{"", port}.String()}, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsMulticast() {
		return ListenAddr{}, errListen
	}
	return ListenAddr{"tcp", netip.AddrPortFrom(a.Unmap(), port).String()}, nil
}

func parseLUNRange(s string) (LUNRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 14)
	b, err2 := strconv.ParseUint(last, 10, 14)
	if err1 != nil || err2 != nil || a > b {
		return LUNRange{}, errRange
	}
	return LUNRange{uint16(a), uint16(b)}, nil
}

// parseBlockSize reads the logical block of a file disk.
func parseBlockSize(s string) (uint32, error) {
	switch s {
	case "512":
		return 512, nil
	case "4096", "4KiB":
		return 4096, nil
	default:
		return 0, errWord
	}
}

func parseAllPathsDown(s string) (AllPathsDown, error) {
	switch m := AllPathsDownMode(s); m {
	case AllPathsDownAuto, AllPathsDownQueue, AllPathsDownFail:
		return AllPathsDown{Mode: m}, nil
	case AllPathsDownFor:
		return AllPathsDown{}, errWord
	}
	d, err := parseDuration(s, 100*time.Millisecond, 24*time.Hour)
	if errors.Is(err, errDuration) {
		err = errWord
	}
	if err != nil {
		return AllPathsDown{}, err
	}
	return AllPathsDown{Mode: AllPathsDownFor, For: d}, nil
}
