// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"slices"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// Kinds of commands, for rules.
var (
	Reads  = []scsi.Opcode{scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16}
	Writes = []scsi.Opcode{
		scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteSame10, scsi.OpWriteSame16,
		scsi.OpUnmap, scsi.OpCompareAndWrite,
	}
	Data    = append(slices.Clone(Reads), Writes...)
	Flushes = []scsi.Opcode{scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16}
)

// Rule says what becomes of some commands. The first rule that matches a command
// has it.
type Rule struct {
	// Portals, LUNs and Ops limit it; empty: all.
	Portals []int
	LUNs    []uint16
	Ops     []scsi.Opcode
	// Match limits it further; nil: no.
	Match func(c *Command) bool
	// Skip lets that many matching commands pass; Times is how many it then takes,
	// 0 all.
	Skip, Times int
	// Do is what to do; nil: nothing, so that there is no answer.
	Do Action
}

// Action handles one command.
type Action func(c *Command)

// Script is a rule in force.
type Script struct {
	t        *Target
	rule     Rule
	met, hit int
}

// On puts a rule behind those in force.
func (tg *Target) On(r Rule) *Script {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	s := &Script{t: tg, rule: r}
	tg.scripts = append(tg.scripts, s)
	return s
}

// Hits counts the commands that it took.
func (s *Script) Hits() int {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.hit
}

// Remove takes the rule out of force.
func (s *Script) Remove() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.t.scripts = slices.DeleteFunc(s.t.scripts, func(o *Script) bool { return o == s })
}

// script finds the rule for c.
func (tg *Target) script(c *Command) (Action, bool) {
	tg.mu.Lock()
	defer tg.mu.Unlock()
	for _, s := range tg.scripts {
		if !s.rule.takes(c) {
			continue
		}
		s.met++
		if s.met <= s.rule.Skip || s.rule.Times > 0 && s.hit >= s.rule.Times {
			continue
		}
		s.hit++
		return s.rule.Do, true
	}
	return nil, false
}

func (r *Rule) takes(c *Command) bool {
	return (len(r.Portals) == 0 || slices.Contains(r.Portals, c.Portal)) &&
		(len(r.LUNs) == 0 || slices.Contains(r.LUNs, c.LUN)) &&
		(len(r.Ops) == 0 || slices.Contains(r.Ops, c.CDB.Opcode())) &&
		(r.Match == nil || r.Match(c))
}

// Check ends a command with CHECK CONDITION; it is not carried out.
func Check(code scsi.SenseCode) Action { return func(c *Command) { c.Check(code) } }

// Sense ends a command with CHECK CONDITION and these sense data, which may be
// nonsense.
func Sense(data []byte) Action { return func(c *Command) { c.Sense(data) } }

// Status ends a command with a status and no sense data; it is not carried out.
func Status(s scsi.Status) Action { return func(c *Command) { c.Status(s) } }

// Silent never answers, and carries nothing out.
func Silent(*Command) {}

// Late carries a command out after d.
func Late(d time.Duration) Action {
	return func(c *Command) {
		c.Go(func() {
			if c.Wait(time.After(d)) {
				c.Run()
			}
		})
	}
}

// Held carries a command out when gate is closed.
func Held(gate <-chan struct{}) Action {
	return func(c *Command) {
		c.Go(func() {
			select {
			case <-gate:
				c.Run()
			case <-c.conn.t.done:
			}
		})
	}
}

// Mute carries a command out and does not answer.
func Mute(c *Command) {
	c.mute = true
	c.Run()
}

// Reset resets the connection instead of an answer.
func Reset(c *Command) { c.conn.end() }

// Rejected refuses a command by a Reject PDU.
func Rejected(why wire.RejectReason) Action { return func(c *Command) { c.Reject(why) } }
