// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Config is what a test configures. The zero value is a gateway without targets.
type Config struct {
	Initiator string   // default iqn.2026-11.test:gate
	Adapters  []string // addresses or interfaces of vmhba0, vmhba1, ...; default 127.0.0.1 and 127.0.0.2
	Targets   []Target
	// Rules are the entries of luns:, each a YAML mapping in flow style. Default:
	// every LUN is queued for while all paths are down, and has a protected cache.
	Rules []string
	// Claims are the entries of claim-rules:, likewise. Default: none.
	Claims []string
	// Disks are those of vm1, each a YAML mapping in flow style. Default: root,
	// all of vmhba0:0:1.
	Disks []string
	// Clients says what becomes of a second client of vm1's disks. Default shared: tests
	// look at a disk from several processes.
	Clients string
	// Timeouts are added to a failback of 500 ms, which keeps tests short.
	Timeouts map[string]string
	// Marginal is what marginal: says, a YAML mapping in flow style. Default: no path
	// counts as flapping, unreliable or slow, since tests break paths again and again, on a machine
	// that is slow by itself.
	Marginal string
	TCP      string // another NBD listener, "ip:port"
	NBD      string // further keys of nbd:, such as "on-stop: close"
	// ISCSI is what iscsi: says, and VM what iscsi: of vm1 says, YAML mappings in flow
	// style; VMs are further entries of vms:, likewise. Default: none.
	ISCSI, VM string
	VMs       []string
	// Limits is what limits: says, a YAML mapping in flow style. Default: nothing.
	Limits string
	// Env are further variables of the process's environment, "NAME=value".
	Env []string
	// Unfenced runs the program that does not fence: a negative control.
	Unfenced bool
}

// Target is one entry of targets:.
type Target struct {
	Portals []string
	// More are further keys of the entry, such as "header-digest: require".
	More []string
}

// yaml is the configuration file of a gateway whose files are in dir.
func (c Config) yaml(dir string) string {
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	p("state: %s/state", dir)
	p("control: unix:%s/control.sock", dir)
	p("initiator: %s", or(c.Initiator, "iqn.2026-11.test:gate"))
	adapters := c.Adapters
	if adapters == nil {
		adapters = []string{"127.0.0.1", "127.0.0.2"}
	}
	p("adapters:")
	for i, a := range adapters {
		bound := "interface"
		if _, err := netip.ParseAddr(a); err == nil {
			bound = "address"
		}
		p("  - {name: vmhba%d, %s: %s}", i, bound, a)
	}
	if len(c.Targets) > 0 {
		p("targets:")
	}
	for _, t := range c.Targets {
		p("  - {%s}", strings.Join(append([]string{"portals: [\"" + strings.Join(t.Portals, `", "`) + "\"]"}, t.More...), ", "))
	}
	if len(c.Claims) > 0 {
		p("claim-rules:")
	}
	for _, r := range c.Claims {
		p("  - %s", r)
	}
	rules := c.Rules
	if rules == nil {
		rules = []string{`{id: "*", all-paths-down: queue, cache: protected}`}
	}
	p("luns:")
	for _, r := range rules {
		p("  - %s", r)
	}
	disks := c.Disks
	if disks == nil {
		disks = []string{`{name: root, lun: "vmhba0:0:1"}`}
	}
	p("vms:\n  - name: vm1\n    clients: %s", or(c.Clients, "shared"))
	if c.VM != "" {
		p("    iscsi: %s", c.VM)
	}
	p("    disks:")
	for _, d := range disks {
		p("      - %s", d)
	}
	for _, vm := range c.VMs {
		p("  - %s", vm)
	}
	if c.Limits != "" {
		p("limits: %s", c.Limits)
	}
	if c.ISCSI != "" {
		p("iscsi: %s", c.ISCSI)
	}
	listen := "unix:" + dir + "/nbd.sock"
	if c.TCP != "" {
		listen += ", " + c.TCP
	}
	more := ""
	if c.NBD != "" {
		more = ", " + c.NBD
	}
	p("nbd: {listen: [%s]%s}", listen, more)
	timeouts := map[string]string{"failback": "500ms"}
	maps.Copy(timeouts, c.Timeouts)
	p("marginal: %s", or(c.Marginal, "{losses: 0, request-errors: 0, slow: 0}"))
	p("timeouts:")
	for _, k := range slices.Sorted(maps.Keys(timeouts)) {
		p("  %s: %s", k, timeouts[k])
	}
	return b.String()
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
