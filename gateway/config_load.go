// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"
)

// sectorSize is what offsets and sizes are multiples of: the smallest logical block.
const sectorSize = 512

var (
	errDuration      = errors.New("is not a duration")
	errDurationRange = errors.New("is out of range")
	errSizeAlign     = errors.New("is not a multiple of 512")
	errSizeZero      = errors.New("is 0")
)

// Load reads and checks the configuration in a file, including the mode and owner of
// the secret files that it names. A configuration that is refused gives a
// *ConfigError with every fault.
func Load(path string) (*Config, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return parseConfig(path, b, thisHost(), true)
}

// Parse checks a configuration without looking at any file. name stands for the file
// in faults. Errors are *ConfigError.
func Parse(name string, b []byte) (*Config, error) {
	return parseConfig(name, b, thisHost(), false)
}

// readBounded reads no more than is needed to see that a file is too large.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxConfigBytes))
}

func parseConfig(name string, b []byte, h host, files bool) (*Config, error) {
	root, faults := parseYAML(b)
	c := &Config{src: source{file: name, text: b, place: make(map[string]placed)}}
	for i := range faults {
		faults[i].File = name
	}
	// A file that could not be read as YAML has a root of no kind and one fault.
	if len(faults) == 0 || root.kind != kindNull {
		c.src.index(root, "")
		d := &decoder{src: &c.src}
		d.config(root, c)
		c.applyDefaults(h)
		v := &validator{c: c, src: &c.src}
		v.config(files)
		faults = append(append(faults, d.faults...), v.faults...)
	}
	if len(faults) == 0 {
		return c, nil
	}
	sortFaults(faults)
	if n := len(faults) - maxFaults; n > 0 {
		faults = append(faults[:maxFaults], Fault{File: name, Message: fmt.Sprintf("and %d more faults", n)})
	}
	return nil, &ConfigError{File: name, Faults: faults, src: b}
}

func (d *decoder) config(root value, c *Config) {
	o := d.object(root, "", "state", "control", "initiator", "adapters", "targets", "claim-rules", "luns", "groups", "vms", "nbd", "iscsi", "timeouts", "marginal", "limits")
	o.text("state", &c.State, checkPath)
	parsed(o, "control", &c.Control, parseControl, "unix:/absolute/path, at most 107 bytes")
	o.text("initiator", &c.Initiator, checkISCSIName)
	c.Timeouts = DefaultTimeouts()
	if v, key, ok := o.get("timeouts"); ok {
		d.timeouts(v, key, &c.Timeouts)
	}
	c.Marginal = defaultMarginal()
	if v, key, ok := o.get("marginal"); ok {
		d.marginal(v, key, &c.Marginal)
	}
	o.list("adapters", func(v value, key string) { c.Adapters = append(c.Adapters, d.adapter(v, key)) })
	o.list("targets", func(v value, key string) { c.Targets = append(c.Targets, d.target(v, key)) })
	o.list("claim-rules", func(v value, key string) { c.Claims = append(c.Claims, d.claimRule(v, key)) })
	o.list("luns", func(v value, key string) { c.LUNs = append(c.LUNs, d.lunRule(v, key, c.defaultLUNRule())) })
	o.list("groups", func(v value, key string) { c.Groups = append(c.Groups, d.group(v, key)) })
	o.list("vms", func(v value, key string) { c.VMs = append(c.VMs, d.vm(v, key)) })
	if v, key, ok := o.get("nbd"); ok {
		c.NBD = d.nbd(v, key)
	}
	if v, key, ok := o.get("limits"); ok {
		c.Limits = d.clientLimits(v, key)
	}
	if v, key, ok := o.get("iscsi"); ok {
		c.ISCSI = d.iscsi(v, key)
	}
}

func (d *decoder) timeouts(v value, key string, t *Timeouts) {
	table := t.table()
	known := make([]string, len(table))
	for i, row := range table {
		known[i] = row.key
	}
	o := d.object(v, key, known...)
	for _, row := range table {
		o.duration(row.key, row.value, row.min, row.max)
	}
}

func (d *decoder) adapter(v value, key string) (a AdapterConfig) {
	o := d.object(v, key, "name", "interface", "address", "bandwidth")
	o.require("name")
	o.text("name", &a.Name, checkName)
	o.text("interface", &a.Interface, checkInterface)
	parsed(o, "address", &a.Address, parseSourceAddr, "an address of this host, without port")
	o.bandwidth(&a.Bandwidth)
	if o.v.kind == kindMap && o.has("interface") == o.has("address") {
		d.fault(key, "needs one of interface and address", "exactly one")
	}
	return a
}

func (d *decoder) target(v value, key string) TargetConfig {
	t := defaultTarget()
	o := d.object(v, key, "portals", "name", "discover", "allowed-networks", "chap", "adapters",
		"header-digest", "data-digest", "lun-range", "bandwidth")
	o.require("portals")
	o.list("portals", func(v value, key string) {
		var p Portal
		parseInto(d, v, key, &p, parsePortal, "address or name, and a port unless it is 3260; IPv6 in brackets")
		t.Portals = append(t.Portals, p)
	})
	o.text("name", &t.Name, checkTargetName)
	o.bool("discover", &t.Discover)
	o.list("allowed-networks", func(v value, key string) {
		var n netip.Prefix
		parseInto(d, v, key, &n, parseNetwork, "such as 10.1.0.0/16 or fd00::/64")
		t.AllowedNetworks = append(t.AllowedNetworks, n)
	})
	if v, key, ok := o.get("chap"); ok {
		t.CHAP = d.chap(v, key)
	}
	o.list("adapters", func(v value, key string) {
		var name string
		d.text(v, key, &name, checkName)
		t.Adapters = append(t.Adapters, name)
	})
	enum(o, "header-digest", &t.HeaderDigest, DigestNone, DigestPrefer, DigestRequire)
	enum(o, "data-digest", &t.DataDigest, DigestNone, DigestPrefer, DigestRequire)
	o.bandwidth(&t.Bandwidth)
	parsed(o, "lun-range", &t.LUNRange, parseLUNRange, "first-last, such as 0-255, up to 16383")
	return t
}

func (d *decoder) chap(v value, key string) *CHAPConfig {
	o := d.object(v, key, "user", "secret-file", "mutual-user", "mutual-secret-file")
	c := &CHAPConfig{}
	o.require("user")
	o.require("secret-file")
	o.text("user", &c.User, checkUser)
	o.text("secret-file", &c.Secret.File, checkPath)
	o.text("mutual-user", &c.MutualUser, checkUser)
	o.text("mutual-secret-file", &c.MutualSecret.File, checkPath)
	if o.has("mutual-user") != o.has("mutual-secret-file") {
		d.fault(key, "has half of mutual authentication", "mutual-user and mutual-secret-file together")
	}
	return c
}

func (d *decoder) lunRule(v value, key string, r LUNRule) LUNRule {
	o := d.object(v, key, "id", "alias", "selector", "all-paths-down", "cache", "quiesce-time", "scheduler",
		"shared", "fence-reset", "fence-abort", "reservation", "marginal", "failback", "exclusive-preferred", "queue-commands", "queue-bytes")
	o.require("id")
	o.text("id", &r.ID, checkLUNPattern)
	o.text("alias", &r.Alias, checkName)
	d.selector(o, &r.Selector)
	parsed(o, "all-paths-down", &r.AllPathsDown, parseAllPathsDown, "auto, queue, fail, or a time from 100ms to 24h")
	enum(o, "cache", &r.Cache, CacheVolatile, CacheProtected)
	o.duration("quiesce-time", &r.QuiesceTime, 0, 24*time.Hour)
	d.fence(o, &r.Fence)
	d.failback(o, &r.Failback)
	o.bool("exclusive-preferred", &r.ExclusivePreferred)
	if v, key, ok := o.get("reservation"); ok {
		d.reservation(v, key, &r.Reservation)
	}
	if v, key, ok := o.get("scheduler"); ok {
		d.scheduler(v, key, &r.Scheduler)
	}
	if v, key, ok := o.get("marginal"); ok {
		d.marginal(v, key, &r.Marginal)
	}
	o.queue(&r.QueueCommands, &r.QueueBytes)
	return r
}

func (d *decoder) vm(v value, key string) VMConfig {
	vm := defaultVM()
	o := d.object(v, key, "name", "priority", "guest-timeout", "iscsi", "nbd", "clients", "disks")
	o.require("name")
	o.require("disks")
	o.text("name", &vm.Name, checkName)
	priority := int(vm.Priority)
	o.integer("priority", &priority, 0, 10)
	vm.Priority = uint8(priority)
	o.duration("guest-timeout", &vm.GuestTimeout, 0, 24*time.Hour)
	if v, key, ok := o.get("iscsi"); ok {
		vm.ISCSI = d.vmISCSI(v, key)
	}
	if v, key, ok := o.get("nbd"); ok {
		vm.NBD = d.vmNBD(v, key)
	}
	enum(o, "clients", &vm.Clients, ClientsExclusive, ClientsTakeover, ClientsShared)
	o.list("disks", func(v value, key string) { vm.Disks = append(vm.Disks, d.disk(v, key, &vm)) })
	return vm
}

func (d *decoder) disk(v value, key string, vm *VMConfig) DiskConfig {
	k := defaultDisk()
	k.Clients = vm.Clients
	known := []string{"name", "lun", "offset", "size", "extents", "file", "block-size", "read-only", "open", "all-paths-down", "lun-id", "clients", "multi-conn", "max-size", "client-resize"}
	o := d.object(v, key, append(known, diskShareKeys()...)...)
	o.require("name")
	o.text("name", &k.Name, checkName)
	o.bool("read-only", &k.ReadOnly)
	o.lunID(&k.LUNID)
	enum(o, "open", &k.Open, OpenWait, OpenFail)
	enum(o, "clients", &k.Clients, ClientsExclusive, ClientsTakeover, ClientsShared)
	enum(o, "multi-conn", &k.MultiConn, MultiConnAuto, MultiConnAlways, MultiConnNever)
	parsed(o, "all-paths-down", &k.AllPathsDown, parseAllPathsDown, "auto, queue, fail, or a time from 100ms to 24h")
	d.diskShare(o, &k.Share)
	d.diskResize(o, key, &k)
	kinds := 0
	for _, name := range []string{"lun", "extents", "file"} {
		if o.has(name) {
			kinds++
		}
	}
	if kinds != 1 && o.v.kind == kindMap {
		rule := "exactly one"
		if o.has("lun") && o.has("file") {
			rule += "; the number that initiators see is lun-id"
		}
		d.fault(key, "needs one of lun, extents and file", rule)
		return k
	}
	if o.has("block-size") && !o.has("file") {
		d.fault(joinKey(key, "block-size"), "is not used here", "belongs to file: a LUN has its own")
	}
	switch {
	case o.has("lun"):
		k.Extents = []ExtentConfig{d.extent(o)}
		return k
	case o.has("file"):
		o.text("file", &k.File, checkPath)
		o.size("size", &k.Size, false)
		parsed(o, "block-size", &k.BlockSize, parseBlockSize, "512 or 4096")
		if b := uint64(max(k.BlockSize, 512)); uint64(k.Size)%b != 0 {
			d.fault(joinKey(key, "size"), "does not fit", fmt.Sprintf("a multiple of the block size, %d bytes", b))
		}
		if o.has("all-paths-down") {
			d.fault(joinKey(key, "all-paths-down"), "is not used here", "belongs to lun or extents: a file has no paths")
		}
	default:
		o.list("extents", func(v value, key string) {
			e := d.object(v, key, "lun", "offset", "size")
			e.require("lun")
			k.Extents = append(k.Extents, d.extent(e))
		})
		if o.has("size") {
			d.fault(joinKey(key, "size"), "is not used here", "each extent has its own")
		}
	}
	if o.has("offset") {
		d.fault(joinKey(key, "offset"), "is not used here", "belongs to lun")
	}
	return k
}

func (d *decoder) extent(o object) (e ExtentConfig) {
	o.text("lun", &e.LUN, checkLUNName)
	o.size("offset", &e.Offset, true)
	o.size("size", &e.Size, false)
	return e
}

func (d *decoder) nbd(v value, key string) (n NBDConfig) {
	o := d.object(v, key, "listen", "on-stop", "open-wait", "plaintext-remote")
	o.list("listen", func(v value, key string) { n.Listen = append(n.Listen, d.nbdListener(v, key)) })
	enum(o, "on-stop", &n.OnStop, StopError, StopClose)
	o.duration("open-wait", &n.OpenWait, time.Second, 10*time.Minute)
	o.bool("plaintext-remote", &n.PlaintextRemote)
	return n
}
