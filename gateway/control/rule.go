// SPDX-License-Identifier: Apache-2.0

package control

// Rule is a claim rule: what becomes of the paths that match it. The first rule by
// number that matches a path decides. Keys that are left out match everything; in the
// others each * stands for any text.
type Rule struct {
	Number int    `json:"number"`
	Action string `json:"action"` // use or mask
	// Source is config, runtime, or default for the rule behind all. Not part of what
	// is sent to add a rule.
	Source   string `json:"source,omitempty"`
	Adapter  string `json:"adapter,omitempty"`
	Portal   string `json:"portal,omitempty"`
	Target   string `json:"target,omitempty"`
	LUN      string `json:"lun,omitempty"` // "5" or "0-7"
	Path     string `json:"path,omitempty"`
	Identity string `json:"identity,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Product  string `json:"product,omitempty"`
	Revision string `json:"revision,omitempty"`
	// Match is the keys in one line, Never why the rule can decide nothing, Paths the
	// number of paths that it decides now. Like Source they are only told.
	Match string `json:"match,omitempty"`
	Never string `json:"never,omitempty"`
	Paths int    `json:"paths"`
}

// The values of Rule.Source.
const (
	RuleConfigured = "config"
	RuleAdded      = "runtime"
	RuleDefault    = "default"
)

// RuleCheck is what rules do, or would do.
type RuleCheck struct {
	// Rules are the rules that were asked about, as they are or would be.
	Rules []RuleEffect `json:"rules"`
	// Hides are the paths that become masked by the change, Shows those that are not
	// any more, or of which only INQUIRY will tell.
	Hides []RulePath `json:"hides"`
	Shows []RulePath `json:"shows"`
	// Devices are those that lose paths by the change.
	Devices []RuleDevice `json:"devices"`
	// Conflict says which disks would lose their last path, and is empty if none would.
	Conflict string `json:"conflict,omitempty"`
	// Applied: the change is in force.
	Applied bool `json:"applied"`
}

// RuleEffect is what one rule does.
type RuleEffect struct {
	Rule Rule `json:"rule"`
	// Paths are those that it decides.
	Paths []RulePath `json:"decides"`
	// Devices are theirs, with who uses them; only of a rule that masks.
	Devices []RuleDevice `json:"devices,omitempty"`
}

// RulePath is a path as rules see it. What only INQUIRY tells is empty when the LUN was
// never asked.
type RulePath struct {
	Name     string `json:"name"`
	Target   string `json:"target"`
	Portal   string `json:"portal"`
	Device   string `json:"device,omitempty"`
	Identity string `json:"identity,omitempty"`
	Vendor   string `json:"vendor,omitempty"`
	Product  string `json:"product,omitempty"`
	Revision string `json:"revision,omitempty"`
	Health   string `json:"health"`
	// Masked is the rule that masks it now, 0 for none; Action and Rule are what is
	// decided then: use, mask, or ask (with rule 0).
	Masked int    `json:"masked"`
	Action string `json:"action"`
	Rule   int    `json:"rule"`
}

// RuleDevice is a device with paths that a rule masks.
type RuleDevice struct {
	// Name is the canonical name, or that of the path where the device is not known.
	Name     string `json:"name"`
	Identity string `json:"identity,omitempty"`
	// Paths counts those that are not masked now, Left those of them then; Usable and
	// UsableLeft those that can carry I/O.
	Paths      int `json:"paths"`
	Left       int `json:"paths_left"`
	Usable     int `json:"usable"`
	UsableLeft int `json:"usable_left"`
	// Loses is one of the RuleLoses constants.
	Loses string     `json:"loses,omitempty"`
	Disks []RuleDisk `json:"disks,omitempty"`
}

// The values of RuleDevice.Loses.
const (
	RuleLosesLastPath   = "last path"
	RuleLosesRedundancy = "redundancy" // one usable path is left of several
)

// RuleDisk is a disk with a part of a device.
type RuleDisk struct {
	Name        string `json:"name"`
	VM          string `json:"vm"`
	Connections int    `json:"connections"` // of clients, now
}

// RuleChange asks for a rule to be added or removed.
type RuleChange struct {
	// Rule is the one to add; unused when one is removed.
	Rule Rule `json:"rule,omitzero"`
	// Force lets disks lose their last path.
	Force bool `json:"force,omitempty"`
	// DryRun tells what would happen, and changes nothing.
	DryRun bool `json:"dry_run,omitempty"`
}
