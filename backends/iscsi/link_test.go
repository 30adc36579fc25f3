// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestLinkFault(t *testing.T) {
	host := hostLinks{
		1: {name: "lo", up: true, running: true, loopback: true, prefixes: prefixes("127.0.0.1/8", "::1/128")},
		2: {name: "eth0", up: true, running: true, prefixes: prefixes("10.0.0.5/24", "fe80::1/64")},
		3: {name: "eth1", up: true, prefixes: prefixes("10.1.0.5/24")},
		4: {name: "eth2", prefixes: prefixes("10.2.0.5/24")},
		5: {name: "eth3", up: true, running: true},
	}
	for _, c := range []struct{ iface, addr, local, want string }{
		{iface: "eth0"},
		{iface: "eth0", local: "10.0.0.5"},
		{iface: "eth0", local: "::ffff:10.0.0.5"},
		{iface: "eth0", local: "fe80::1%eth0"},
		{iface: "eth0", local: "10.0.0.6", want: "interface eth0 has lost the address 10.0.0.6"},
		{iface: "eth1", want: "interface eth1 has no carrier"},
		{iface: "eth2", want: "interface eth2 is down"},
		{iface: "eth3", want: "interface eth3 has no address"},
		{iface: "eth9", want: "interface eth9 does not exist"},
		{iface: "lo", local: "127.0.0.2"},
		{addr: "10.0.0.5"},
		{addr: "127.0.0.2", local: "127.0.0.2"},
		{addr: "10.0.0.77", want: "no interface has the address 10.0.0.77"},
		{addr: "10.1.0.5", local: "10.1.0.5", want: "interface eth1 has no carrier"},
		{addr: "10.2.0.5", want: "interface eth2 is down"},
		{}, // bound to nothing
	} {
		parse := func(s string) (a netip.Addr) {
			if s != "" {
				a = netip.MustParseAddr(s)
			}
			return a
		}
		if got := host.fault(c.iface, parse(c.addr), parse(c.local)); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// linkedRig is a rig on eth0, which is up.
func linkedRig(t *testing.T, script func(*fake), opts ...option) (*rig, *Links, hostLink) {
	eth0 := hostLink{name: "eth0", up: true, running: true, prefixes: prefixes("10.0.0.5/24")}
	l := &Links{hosts: hostLinks{2: eth0}}
	with := func(c *Config, _ *wire.Settings, _ *rigOptions) {
		c.Interface, c.Links = "eth0", l
	}
	return newRig(t, script, append(opts, with)...), l, eth0
}

// TestLinkLossEndsSessions: a session whose adapter has lost its link or its address
// is down in the same instant, as the adapter's loss; no login is tried until the
// link is back, and then one is made at once.
func TestLinkLossEndsSessions(t *testing.T) {
	for name, broken := range map[string]func(hostLink) hostLinks{
		"down":       func(h hostLink) hostLinks { h.up = false; return hostLinks{2: h} },
		"no carrier": func(h hostLink) hostLinks { h.running = false; return hostLinks{2: h} },
		"no address": func(h hostLink) hostLinks { h.prefixes = nil; return hostLinks{2: h} },
		"gone":       func(hostLink) hostLinks { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, links, eth0 := linkedRig(t, func(f *fake) { f.disk(make([]byte, 65536)) }, again)
				r.waitUp()
				if res := r.do(read4k()); !res.OK() {
					t.Fatalf("with the link: %+v", res)
				}
				ch := r.submit(read4k(), read4k())
				begin := time.Now()
				links.set(broken(eth0))
				l := <-r.down
				if l.Class != backends.LossLocal || l.Retry != 0 || l.Generation != 1 || !strings.Contains(l.Err.Error(), "eth0") {
					t.Errorf("got loss %+v", l)
				}
				for range 2 {
					if o := <-ch; o.res.Class != backends.Transport && !o.res.OK() {
						t.Errorf("a request ended with %+v", o.res)
					}
				}
				if d := time.Since(begin); d != 0 {
					t.Errorf("it was told after %v", d)
				}
				time.Sleep(time.Hour)
				if len(r.down)+len(r.up) != 0 {
					t.Errorf("%d attempts, %d logins without a link", len(r.down), len(r.up))
				}
				begin = time.Now()
				links.set(hostLinks{2: eth0})
				if l := <-r.up; l.Generation != 2 || time.Since(begin) != 0 {
					t.Errorf("logged in after %v: %+v", time.Since(begin), l)
				}
				r.close()
			})
		})
	}
}

// TestOtherLinksDoNotMatter: what happens to other interfaces, and other addresses
// of the same one, ends nothing; neither does the end of the watching.
func TestOtherLinksDoNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, links, eth0 := linkedRig(t, func(f *fake) { f.disk(make([]byte, 65536)) })
		r.waitUp()
		more := eth0
		more.prefixes = prefixes("10.0.0.5/24", "10.0.0.6/24")
		links.set(hostLinks{2: more, 3: {name: "eth1", up: true, running: true}})
		links.set(hostLinks{2: eth0, 3: {name: "eth1"}})
		told := 0
		links.failed = func(error) { told++ }
		links.lose(errors.New("no netlink"))
		links.lose(errors.New("no netlink"))
		synctest.Wait()
		if res := r.do(read4k()); !res.OK() || len(r.down) != 0 {
			t.Errorf("%+v, %d losses", res, len(r.down))
		}
		if told != 1 {
			t.Errorf("the failure was told %d times, want once", told)
		}
		r.close()
	})
}

// TestLinkLossDuringLogin: an attempt under way is given up, and the reason is the
// link.
func TestLinkLossDuringLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, links, eth0 := linkedRig(t, func(f *fake) { f.recv() }, again, func(_ *Config, _ *wire.Settings, o *rigOptions) {
			o.login = func(f *fake) error {
				buf := make([]byte, 4096) // it takes what comes and answers nothing
				for {
					if _, err := f.sock.Read(buf); err != nil {
						return err
					}
				}
			}
		})
		synctest.Wait()
		begin := time.Now()
		links.set(hostLinks{})
		if l := <-r.down; l.Class != backends.LossLocal || l.Generation != 0 || time.Since(begin) != 0 {
			t.Errorf("got %+v after %v", l, time.Since(begin))
		}
		links.set(hostLinks{2: eth0})
		synctest.Wait()
		begin = time.Now()
		links.set(hostLinks{})
		if l := <-r.down; l.Class != backends.LossLocal || time.Since(begin) != 0 {
			t.Errorf("the second attempt: %+v after %v", l, time.Since(begin))
		}
		r.close()
	})
}

// TestNewLinks: the interfaces of this host are known at once, and Close leaves
// nothing behind.
func TestNewLinks(t *testing.T) {
	l := NewLinks(func(err error) { t.Error(err) })
	for _, c := range []struct {
		cfg Config
		bad bool
	}{
		{Config{Links: l, SourceAddr: netip.MustParseAddr("127.0.0.2")}, false},
		{Config{Links: l, Interface: "lo"}, false},
		{Config{Links: l, Interface: "pgnone0"}, true},
		{Config{Links: l, SourceAddr: netip.MustParseAddr("192.0.2.1")}, true},
	} {
		if got := c.cfg.linkFault(netip.Addr{}); (got != "") != c.bad {
			t.Errorf("interface %q, address %v: %q", c.cfg.Interface, c.cfg.SourceAddr, got)
		}
	}
	l.Close()
	(*Links)(nil).Close()
}
