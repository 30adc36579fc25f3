// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	return must[*Config](t)(Parse("t.yaml", []byte(text)))
}

// faultKeys are line and key of the faults of err.
func faultKeys(t *testing.T, err error) []string {
	t.Helper()
	var ce *ConfigError
	if !errors.As(err, &ce) {
		t.Fatalf("got %v, want a *ConfigError", err)
	}
	var keys []string
	for _, f := range ce.Faults {
		keys = append(keys, fmt.Sprintf("%d %s", f.Line, f.Key))
	}
	return keys
}

const lunConfig = `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
vms:
  - name: vm1
    disks:
      - {name: a, lun: alias, size: 64KiB}
      - {name: b, lun: "vmhba0:0:1", offset: 32KiB, size: 64KiB}
      - {name: c, lun: other, offset: 1MiB}
      - {name: d, lun: absent, size: 1GiB}
      - name: e
        extents: [{lun: small, size: 1MiB}, {lun: other, size: 1MiB}]
`

func TestCheckExtents(t *testing.T) {
	c := mustParse(t, lunConfig)
	check := func(alias string, other, small uint64) []string {
		var got []string
		for _, f := range c.CheckExtents(func(lun string) (string, uint64, bool) {
			switch lun {
			case "alias":
				return alias, 1 << 20, true
			case "vmhba0:0:1":
				return "naa.1", 1 << 20, true
			case "other":
				return "naa.2", other, true
			case "small":
				return "naa.3", small, true
			}
			return "", 0, false
		}) {
			if f.File != "t.yaml" || f.Line == 0 {
				t.Errorf("fault %+v has no place", f)
			}
			got = append(got, f.Key)
		}
		return got
	}
	for name, tt := range map[string]struct {
		alias        string
		other, small uint64
		want         []string
	}{
		"all is well":             {"naa.9", 1<<20 + 512, 1 << 20, nil},
		"two names of one LUN":    {"naa.1", 1 << 21, 1 << 20, []string{"vms[0].disks[1]"}},
		"disk larger than LUN":    {"naa.9", 1 << 21, 1<<20 - 512, []string{"vms[0].disks[4].extents[0].size"}},
		"open end begins beyond":  {"naa.9", 1 << 20, 1 << 20, []string{"vms[0].disks[2]"}},
		"all at once, in order":   {"naa.1", 1 << 19, 0, []string{"vms[0].disks[1]", "vms[0].disks[2]", "vms[0].disks[4].extents[0]", "vms[0].disks[4].extents[1].size"}},
		"size beyond what counts": {"naa.9", math.MaxUint64, 1 << 20, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, check(tt.alias, tt.other, tt.small)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// overlapsSlow compares every extent with every other.
func overlapsSlow(all []extentUse) map[string]bool {
	bad := make(map[string]bool)
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.lun == b.lun && a.start < b.end && b.start < a.end && !(a.readOnly && b.readOnly) {
				bad[a.lun] = true
			}
		}
	}
	return bad
}

func TestOverlapsAgainstSlow(t *testing.T) {
	src := &source{file: "t", place: map[string]placed{}}
	for seed := range uint64(3000) {
		n := seed
		next := func(k uint64) uint64 { n = n*6364136223846793005 + 1442695040888963407; return n >> 33 % k }
		var all []extentUse
		for i := range 2 + next(5) {
			start := Size(next(12))
			all = append(all, extentUse{"l", fmt.Sprint(i), start, start + 1 + Size(next(3)), next(2) == 0})
		}
		want := len(overlapsSlow(all)) > 0
		if got := len(overlaps(src, all)) > 0; got != want {
			t.Fatalf("seed %d: %+v: got %v, want %v", seed, all, got, want)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", 0o600, "correct horse\n")
	readOnly := write("read-only", 0o400, "x")
	loose := write("loose", 0o640, "battery staple")
	for path, want := range map[string]string{good: "correct horse", readOnly: "x"} {
		if got, err := (Secret{path}).Read(); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]string{
		loose: "0640", dir: "not a regular file", filepath.Join(dir, "none"): "no such file",
		write("empty", 0o600, "\n"): "no secret", write("long", 0o600, strings.Repeat("x", maxSecret+1)): "no secret",
	} {
		_, err := (Secret{path}).Read()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "staple") {
			t.Error("an error holds the secret")
		}
	}
	if os.Geteuid() == 0 {
		foreign := write("foreign", 0o600, "x")
		if err := os.Chown(foreign, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := (Secret{foreign}).Read(); err == nil || !strings.Contains(err.Error(), "owned by uid 65534") {
			t.Errorf("foreign file: %v", err)
		}
	}
	conf := filepath.Join(dir, "c.yaml")
	text := fmt.Sprintf("adapters: [{name: a, address: 127.0.0.1}]\ntargets:\n  - portals: [127.0.0.1]\n    chap:\n"+
		"      user: u\n      secret-file: %s\n      mutual-user: v\n      mutual-secret-file: %s\n", good, loose)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Load(conf)
	if diff := cmp.Diff([]string{"8 targets[0].chap.mutual-secret-file"}, faultKeys(t, err)); diff != "" {
		t.Error(diff)
	}
	if _, err := Parse(conf, []byte(text)); err != nil {
		t.Errorf("Parse looks at no file, but: %v", err)
	}
	if err := os.Chmod(loose, 0o600); err != nil {
		t.Fatal(err)
	}
	c := must[*Config](t)(Load(conf))
	if got := fmt.Sprintf("%+v %s", *c.Targets[0].CHAP, c.Targets[0].CHAP.Secret); strings.Contains(got, "horse") {
		t.Errorf("the configuration prints its secret: %s", got)
	}
}

func TestLoadRefusesByName(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, bytes.Repeat([]byte("# comment\n"), maxConfigBytes/10+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "10 MiB") || !strings.HasPrefix(err.Error(), big+":") {
		t.Errorf("large file: %v", err)
	}
}

// TestHostileDocuments: bounded work and a few faults for what is made to cost.
func TestHostileDocuments(t *testing.T) {
	for name, text := range map[string]string{
		"flow nesting":   strings.Repeat("[", 1<<20),
		"map nesting":    strings.Repeat("{a: ", 1<<18),
		"dashes":         strings.Repeat("- ", 4000),
		"question marks": strings.Repeat("? ", 4000),
		"indentation":    nestedBlocks(2000),
		"tags":           "a: " + strings.Repeat("!!a ", 2000),
		"long line":      "a: " + strings.Repeat("x", 1<<20),
		"unknown keys":   manyKeys(20000),
		"flow keys":      "{" + strings.Repeat("k: 1, ", 1000) + "}",
		"quotes":         strings.Repeat(`"`, 1<<12),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("h.yaml", []byte(text))
			var ce *ConfigError
			if !errors.As(err, &ce) {
				t.Fatalf("got %v", err)
			}
			if len(ce.Faults) > maxFaults+1 || len(err.Error()) > 1<<20 {
				t.Errorf("%d faults, %d bytes", len(ce.Faults), len(err.Error()))
			}
		})
	}
}

func nestedBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}

// TestLargeConfiguration: a thousand VMs are well within the bounds.
func TestLargeConfiguration(t *testing.T) {
	var b strings.Builder
	b.WriteString("adapters: [{name: a, address: 127.0.0.1}]\ntargets: [{portals: [127.0.0.1]}]\nvms:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - name: vm%d\n    disks:\n", i)
		for j := range 4 {
			fmt.Fprintf(&b, "      - {name: d%d, lun: l%d, offset: %d, size: 1MiB}\n", j, i%10, (i*4+j)<<20)
		}
	}
	start := time.Now()
	c := mustParse(t, b.String())
	t.Logf("%d bytes in %v", b.Len(), time.Since(start))
	if len(c.VMs) != 1000 || len(c.VMs[999].Disks) != 4 {
		t.Error("something is missing")
	}
}

func TestConfigDefaults(t *testing.T) {
	parse := func(h host, text string) *Config {
		t.Helper()
		return must[*Config](t)(parseConfig("t.yaml", []byte(text), h, false))
	}
	root := parse(testHost(nil), "adapters: [{name: a, address: 127.0.0.1}]")
	user := host{uid: 1000, name: "Büro_PC.Example.", home: "/home/u", env: testHost(nil).env}
	plain := parse(user, "adapters: [{name: a, address: 127.0.0.1}]")
	user.env = testHost(map[string]string{"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/run/user/1000"}).env
	xdg := parse(user, "adapters: [{name: a, address: 127.0.0.1}]")
	user.env = testHost(map[string]string{"XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "relative"}).env
	relative := parse(user, "adapters: [{name: a, address: 127.0.0.1}]")
	for i, tt := range []struct {
		c                         *Config
		state, control, initiator string
	}{
		{root, "/var/lib/pathgate", "/run/pathgate/control.sock", "iqn.2026-11.internal.pathgate:host-a"},
		{plain, "/home/u/.local/state/pathgate", "/home/u/.local/state/pathgate/control.sock", "iqn.2026-11.internal.pathgate:b-ro-pc.example"},
		{xdg, "/s/pathgate", "/run/user/1000/pathgate/control.sock", "iqn.2026-11.internal.pathgate:b-ro-pc.example"},
		{relative, "/home/u/.local/state/pathgate", "/home/u/.local/state/pathgate/control.sock", "iqn.2026-11.internal.pathgate:b-ro-pc.example"},
	} {
		if tt.c.State != tt.state || tt.c.Control.String() != "unix:"+tt.control || tt.c.Initiator != tt.initiator {
			t.Errorf("%d: %s, %s, %s", i, tt.c.State, tt.c.Control, tt.c.Initiator)
		}
		if !ValidISCSIName(tt.c.Initiator) {
			t.Errorf("%s is no iSCSI name", tt.c.Initiator)
		}
	}
	for _, name := range []string{"", "---", "日本", strings.Repeat("x", 300)} {
		if iqn := initiatorPrefix + iqnSafe(name); !ValidISCSIName(iqn) {
			t.Errorf("host %q gives %s", name, iqn)
		}
	}
}

func TestTimeoutsTable(t *testing.T) {
	d := DefaultTimeouts()
	for _, row := range d.table() {
		if row.def < row.min || row.def > row.max || row.max <= 0 {
			t.Errorf("%s: default %v is not in %v to %v", row.key, row.def, row.min, row.max)
		}
	}
	c := mustParse(t, "timeouts: {command: 3s, quiesce: 20s}\nluns: [{id: a}, {id: b, quiesce-time: 0}]")
	if c.Timeouts.Command != 3*time.Second || c.Timeouts.Request != d.Request {
		t.Errorf("got %+v", c.Timeouts)
	}
	if a, b, other := c.LUNRuleFor("a").QuiesceTime, c.LUNRuleFor("b").QuiesceTime, c.LUNRuleFor("c").QuiesceTime; a != 20*time.Second || b != 0 || other != 20*time.Second {
		t.Errorf("quiesce times %v, %v, %v", a, b, other)
	}
}

func TestLUNRuleFor(t *testing.T) {
	c := mustParse(t, `luns: [{id: fast, selector: round-robin}, {id: "naa.6*", all-paths-down: 3s}, {id: "*", all-paths-down: fail}]`)
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"naa.5", "fast", "vmhba0:0:1"}, "fast"}, {[]string{"naa.6001", "", "x"}, "naa.6*"}, {[]string{"fas", ""}, "*"}, {nil, "*"},
	} {
		if got := c.LUNRuleFor(tt.names...).ID; got != tt.want {
			t.Errorf("%q: rule %q, want %q", tt.names, got, tt.want)
		}
	}
	if r := mustParse(t, "luns: [{id: a}]").LUNRuleFor("b"); r.ID != "" || r.Selector.Name != "service-time" || r.AllPathsDown.Mode != AllPathsDownAuto || r.Cache != CacheVolatile {
		t.Errorf("default rule %+v", r)
	}
}

func TestAllPathsDownLimit(t *testing.T) {
	d := DefaultTimeouts()
	for _, tt := range []struct {
		text    string
		guest   time.Duration
		want    time.Duration
		forever bool
	}{
		{"auto", 0, 140 * time.Second, false},
		{"auto", 30 * time.Second, 25 * time.Second, false},
		{"auto", time.Hour, 140 * time.Second, false},
		{"auto", 2 * time.Second, time.Second, false},
		{"queue", 30 * time.Second, 0, true},
		{"fail", 30 * time.Second, 0, false},
		{"90s", 30 * time.Second, 90 * time.Second, false},
	} {
		a := must[AllPathsDown](t)(parseAllPathsDown(tt.text))
		if got, forever := a.Limit(d, tt.guest); got != tt.want || forever != tt.forever {
			t.Errorf("%s with guest %v: %v, %v", tt.text, tt.guest, got, forever)
		}
	}
}

func TestPortalForms(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:3260", "10.0.0.1:1": "10.0.0.1:1", "[fd00::1]": "[fd00::1]:3260", "[FD00:0::1]:99": "[fd00::1]:99",
		"San.Example": "san.example:3260", "[fe80::1%eth0]:3260": "[fe80::1%eth0]:3260", "[::ffff:10.0.0.1]:1": "10.0.0.1:1",
	} {
		p, err := parsePortal(in)
		if err != nil || p.String() != want {
			t.Errorf("%s: %s, %v; want %s", in, p, err, want)
		}
		if again, err := parsePortal(p.String()); again != p || err != nil {
			t.Errorf("%s reads back as %+v, %v", p, again, err)
		}
	}
	if _, ok := (Portal{"san.example", 1}).AddrPort(); ok {
		t.Error("a name is no address")
	}
	if ap, ok := (Portal{"fd00::1", 7}).AddrPort(); !ok || ap.String() != "[fd00::1]:7" {
		t.Errorf("got %v, %v", ap, ok)
	}
}

// FuzzParseConfig: no panic; every fault has a place inside the file and no control
// character; what is accepted holds the rules that others rely on.
func FuzzParseConfig(f *testing.F) {
	files, err := filepath.Glob("testdata/config/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(exampleConfig))
	f.Add([]byte(lunConfig))
	f.Fuzz(func(t *testing.T, b []byte) { checkParse(t, b) })
}

func checkParse(t *testing.T, b []byte) {
	t.Helper()
	c, err := parseConfig("f.yaml", b, testHost(nil), false)
	if err == nil {
		for _, vm := range c.VMs {
			for _, d := range vm.Disks {
				if !ValidName(vm.Name) || !ValidName(d.Name) || (d.File == "") == (len(d.Extents) == 0) {
					t.Fatalf("accepted %+v of %+v", d, vm)
				}
			}
		}
		return
	}
	var ce *ConfigError
	if c != nil || !errors.As(err, &ce) || len(ce.Faults) == 0 {
		t.Fatalf("got %v, %v", c, err)
	}
	lines := bytes.Count(b, []byte("\n")) + 1
	for i, f := range ce.Faults {
		if f.Line < 0 || f.Line > lines+1 || f.Message == "" {
			t.Fatalf("fault %+v in %d lines", f, lines)
		}
		if strings.ContainsFunc(f.Error(), func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			t.Fatalf("fault %q has a control character", f.Error())
		}
		if i > 0 && f.Line != 0 && f.Line < ce.Faults[i-1].Line {
			t.Fatalf("fault %d is out of order", i)
		}
	}
	var out bytes.Buffer
	if err := ce.Excerpt(&out); err != nil {
		t.Fatal(err)
	}
}

// TestB57TruncatedConfigs: a file that ends anywhere is read or refused, in order.
func TestB57TruncatedConfigs(t *testing.T) {
	for i := range len(exampleConfig) {
		checkParse(t, []byte(exampleConfig[:i]))
	}
}

func TestConfigLineEnds(t *testing.T) {
	dos := strings.ReplaceAll(exampleConfig, "\n", "\r\n")
	if diff := cmp.Diff(mustParse(t, exampleConfig).VMs, mustParse(t, dos).VMs); diff != "" {
		t.Error(diff)
	}
	_, err := Parse("t.yaml", []byte(strings.Replace(dos, "priority: 5", "priority: 50", 1)))
	if diff := cmp.Diff([]string{"17 vms[0].priority"}, faultKeys(t, err)); diff != "" {
		t.Error(diff)
	}
	// A lone carriage return ends a line for YAML and for nobody else.
	_, err = Parse("t.yaml", []byte("#\r\rA"))
	if diff := cmp.Diff([]string{"1 "}, faultKeys(t, err)); diff != "" {
		t.Error(diff)
	}
}
