// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// HealthMasked is the Path.Health of a path that a claim rule masks.
const HealthMasked = "masked"

// RuleSource is the part of a Source that knows claim rules. All methods are called
// concurrently. A change returns when it is on stable storage and in force, else with
// an error and nothing changed: ErrInvalid for a rule that is not allowed, ErrNotFound
// for one that is not there, ErrConflict where a disk would lose its last path, or the
// rule is not one that can be changed.
type RuleSource interface {
	// Rules gives the rules in force by number, the default rule too.
	Rules() []Rule
	// MaskedPaths gives the paths that are masked and in no device any more.
	MaskedPaths() []Path
	// CheckRules tells what the rules in force do.
	CheckRules() RuleCheck
	AddRule(c RuleChange) (RuleCheck, error)
	RemoveRule(number int, c RuleChange) (RuleCheck, error)
}

// withRules refuses what a Source without rules cannot do.
func (s *Server) withRules(h func(RuleSource, http.ResponseWriter, *http.Request) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		src, ok := s.src.(RuleSource)
		if !ok {
			return &Error{CodeNotFound, "this gateway has no claim rules"}
		}
		return h(src, w, r)
	}
}

func listRules(src RuleSource, w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, src.Rules())
}

func listMaskedPaths(src RuleSource, w http.ResponseWriter, _ *http.Request) error {
	return writeList(w, src.MaskedPaths())
}

func checkRules(src RuleSource, w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, src.CheckRules())
}

func (s *Server) addRule(src RuleSource, w http.ResponseWriter, r *http.Request) error {
	var body RuleChange
	if err := readBody(r, &body); err != nil {
		return err
	}
	return s.changeRule(w, r, "rule add", body.Rule.Number, body, func() (RuleCheck, error) { return src.AddRule(body) })
}

func (s *Server) removeRule(src RuleSource, w http.ResponseWriter, r *http.Request) error {
	var body RuleChange
	if err := readBody(r, &body); err != nil {
		return err
	}
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		return &Error{CodeNotFound, fmt.Sprintf("rule %s: not a number", shorten(r.PathValue("number")))}
	}
	return s.changeRule(w, r, "rule remove", number, body, func() (RuleCheck, error) { return src.RemoveRule(number, body) })
}

// changeRule makes a change and answers with what it does.
func (s *Server) changeRule(w http.ResponseWriter, r *http.Request, verb string, number int, c RuleChange, change func() (RuleCheck, error)) error {
	s.lastPath.Lock()
	defer s.lastPath.Unlock()
	if !c.DryRun {
		s.operated(r, Operation{Verb: verb, Details: Attrs{{"rule", strconv.Itoa(number)}, {"force", strconv.FormatBool(c.Force)}}})
	}
	done, err := change()
	switch {
	case errors.Is(err, ErrInvalid):
		return &Error{CodeBadRequest, err.Error()}
	case err != nil:
		return refusal(err)
	}
	return writeJSON(w, done)
}

// Rules gives the claim rules in force.
func (c *Client) Rules(ctx context.Context) (list []Rule, err error) {
	return list, c.get(ctx, &list, "rules")
}

// MaskedPaths gives the paths that claim rules mask.
func (c *Client) MaskedPaths(ctx context.Context) (list []Path, err error) {
	return list, c.get(ctx, &list, "masked-paths")
}

// CheckRules tells what the rules in force do.
func (c *Client) CheckRules(ctx context.Context) (v RuleCheck, err error) {
	return v, c.get(ctx, &v, "rule-check")
}

// AddRule adds a rule, or tells what it would do.
func (c *Client) AddRule(ctx context.Context, change RuleChange) (v RuleCheck, err error) {
	return v, c.call(ctx, http.MethodPost, &v, change, "rules")
}

// RemoveRule removes a rule that was added at run time, or tells what that would do.
func (c *Client) RemoveRule(ctx context.Context, number int, change RuleChange) (v RuleCheck, err error) {
	return v, c.call(ctx, http.MethodDelete, &v, change, "rules", strconv.Itoa(number))
}
