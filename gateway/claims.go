// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"pathgate/multipath"
)

// Claims are the claim rules in force: those of the configuration and those that were
// added at run time, merged by number. All methods are safe for concurrent use.
type Claims struct {
	cfg   *Config
	store *Store

	mu    sync.Mutex // one change at a time; held over the store
	added []multipath.ClaimRule
	rules multipath.ClaimRules
}

// Why rules cannot be changed so.
var (
	errRuleConfigured = errors.New("it is in the configuration file, and is changed there")
	errRuleNumber     = errors.New("there is a rule of that number already")
	errRuleDefault    = errors.New("it stands behind all rules, and stays")
	errNoRule         = errors.New("no such rule")
)

// NewClaims merges the rules of cfg with those in the store. A rule that both have
// word for word is the configuration's from now on. Two different ones of one number
// are a *ConfigError: nobody knows which one is meant.
func NewClaims(cfg *Config, store *Store) (*Claims, error) {
	added, err := store.ClaimRules()
	if err != nil {
		return nil, err
	}
	var faults []Fault
	var taken []int
	for i, r := range cfg.Claims {
		j := slices.IndexFunc(added, func(a multipath.ClaimRule) bool { return a.Number == r.Number })
		if j < 0 {
			continue
		}
		one, err := multipath.NewClaimRules(r) // in the form in which the store has it
		if err == nil && one.All()[0] == added[j] {
			taken = append(taken, r.Number)
			added = slices.Delete(added, j, j+1)
			continue
		}
		faults = append(faults, cfg.src.fault(fmt.Sprintf("claim-rules[%d].number", i), "is the number of a rule that was added at run time",
			fmt.Sprintf("another number than that of %q", added[j])))
	}
	if len(faults) > 0 {
		return nil, &ConfigError{File: cfg.src.file, Faults: faults, src: cfg.src.text}
	}
	if len(taken) > 0 {
		if err := store.RemoveClaimRules(taken...); err != nil {
			return nil, err
		}
	}
	c := &Claims{cfg: cfg, store: store, added: added}
	c.rules, err = c.merge(added)
	return c, err
}

func (c *Claims) merge(added []multipath.ClaimRule) (multipath.ClaimRules, error) {
	return multipath.NewClaimRules(slices.Concat(c.cfg.Claims, added)...)
}

// Rules gives the rules in force.
func (c *Claims) Rules() multipath.ClaimRules {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules
}

// Added tells whether the rule of that number was added at run time.
func (c *Claims) Added(number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addedLocked(number) >= 0
}

func (c *Claims) addedLocked(number int) int {
	return slices.IndexFunc(c.added, func(r multipath.ClaimRule) bool { return r.Number == number })
}

// Add keeps a rule and puts it in force, if judge, which is told the rules before and
// after, lets it. apply is called with the new rules before another change can begin.
func (c *Claims) Add(r multipath.ClaimRule, judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.rules.Rule(r.Number); ok {
		return fmt.Errorf("rule %d: %w: %q", r.Number, errRuleNumber, have)
	}
	return c.changeLocked(append(slices.Clone(c.added), r), func() error { return c.store.PutClaimRule(r) }, judge, apply)
}

// Remove drops a rule that was added at run time, likewise.
func (c *Claims) Remove(number int, judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.addedLocked(number)
	if i < 0 {
		if _, ok := c.rules.Rule(number); ok {
			return fmt.Errorf("rule %d: %w", number, errRuleConfigured)
		}
		if number == multipath.DefaultClaimRule {
			return fmt.Errorf("rule %d: %w", number, errRuleDefault)
		}
		return fmt.Errorf("rule %d: %w", number, errNoRule)
	}
	return c.changeLocked(slices.Delete(slices.Clone(c.added), i, i+1), func() error { return c.store.RemoveClaimRules(number) }, judge, apply)
}

func (c *Claims) changeLocked(added []multipath.ClaimRule, keep func() error, judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error {
	rules, err := c.merge(added)
	if err != nil {
		return err
	}
	if err := judge(c.rules, rules); err != nil {
		return err
	}
	if err := keep(); err != nil {
		return err
	}
	c.added, c.rules = added, rules
	apply(rules)
	return nil
}
