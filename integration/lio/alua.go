// SPDX-License-Identifier: Apache-2.0

package lio

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ALUA is an asymmetric access state by its SPC code.
type ALUA int

// The states that LIO can be set to (SPC-4 REPORT TARGET PORT GROUPS).
const (
	ActiveOptimized    ALUA = 0
	ActiveNonOptimized ALUA = 1
	Standby            ALUA = 2
	Unavailable        ALUA = 3
	LBADependent       ALUA = 4
	Offline            ALUA = 0xe
)

// AccessType is who may change access states: alua_access_type of LIO, and TPGS of
// INQUIRY.
type AccessType int

// Access types. The zero value stands for LIO's default, AccessBoth.
const (
	AccessImplicit AccessType = 1 // SetALUA, as an array by itself
	AccessExplicit AccessType = 2 // SET TARGET PORT GROUPS
	AccessBoth     AccessType = 3
)

// SetALUA sets the access state of portal group i (from 0) for a LUN. LIO
// reports it in REPORT TARGET PORT GROUPS and, to sessions that were there
// before, with a unit attention.
func (s *Server) SetALUA(ctx context.Context, lun, i int, state ALUA) error {
	return s.SetALUAs(ctx, lun, map[int]ALUA{i: state})
}

// SetALUAs sets the states of several portal groups of a LUN at once, in the order
// of their numbers. Those that have their state already are left alone.
func (s *Server) SetALUAs(ctx context.Context, lun int, states map[int]ALUA) error {
	var cmds []string
	for _, i := range slices.Sorted(maps.Keys(states)) {
		file := s.groupFile(lun, i, "alua_access_state")
		cmds = append(cmds, fmt.Sprintf("{ [ $(cat %s) = %d ] || echo %d >%s; }", file, states[i], states[i], file))
	}
	_, err := s.Exec(ctx, strings.Join(cmds, " && "))
	return err
}

// ALUAs reads the states of all portal groups of a LUN.
func (s *Server) ALUAs(ctx context.Context, lun int) (states []ALUA, err error) {
	var files []string
	for i := range s.opts.Groups {
		files = append(files, s.groupFile(lun, i, "alua_access_state"))
	}
	out, err := s.Exec(ctx, "cat "+strings.Join(files, " "))
	if err != nil {
		return nil, err
	}
	for _, f := range strings.Fields(out) {
		var n int
		if _, err := fmt.Sscan(f, &n); err != nil {
			return nil, fmt.Errorf("lio: access state %q: %w", f, err)
		}
		states = append(states, ALUA(n))
	}
	return states, nil
}

// SetPreferred sets the PREF bit of portal group i for a LUN. No unit attention
// tells of it.
func (s *Server) SetPreferred(ctx context.Context, lun, i int, on bool) error {
	n := 0
	if on {
		n = 1
	}
	return s.set(ctx, lun, i, "preferred", n)
}

// SetAccessType says who may change the states of all groups of a LUN.
func (s *Server) SetAccessType(ctx context.Context, lun int, a AccessType) error {
	for i := range s.opts.Groups {
		if err := s.set(ctx, lun, i, "alua_access_type", int(a)); err != nil {
			return err
		}
	}
	return nil
}

// SetTransition has each change of a state of portal group i take d, in which the
// group is in transition.
func (s *Server) SetTransition(ctx context.Context, lun, i int, d time.Duration) error {
	return s.set(ctx, lun, i, "trans_delay_msecs", int(d.Milliseconds()))
}

func (s *Server) set(ctx context.Context, lun, i int, file string, value int) error {
	_, err := s.Exec(ctx, fmt.Sprintf("echo %d >%s", value, s.groupFile(lun, i, file)))
	return err
}

func (s *Server) groupFile(lun, i int, file string) string {
	return fmt.Sprintf("%s/alua/%s/%s", s.opts.unit(lun), groupName(i), file)
}
