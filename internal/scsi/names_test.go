// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// constants returns the value of each constant in the file whose name starts
// with the prefix.
func constants(t *testing.T, file, prefix string) map[string]uint64 {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]uint64)
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			v, err := strconv.ParseUint(lit.Value, 0, 64)
			if err != nil {
				t.Fatalf("%s = %s: %v", spec.Names[0].Name, lit.Value, err)
			}
			found[spec.Names[0].Name] = v
		}
		return true
	})
	return found
}

// A code without text would reach the administrator as bare numbers.
func TestEverySenseCodeHasText(t *testing.T) {
	codes := constants(t, "sensecode.go", "Code")
	if len(codes) < 50 {
		t.Fatalf("%d sense codes found, want at least 50", len(codes))
	}
	seen := make(map[uint64]string)
	for name, v := range codes {
		c := SenseCode(v)
		if senseText(c.ASC(), c.ASCQ()) == "" {
			t.Errorf("%s (%v) has no text", name, c)
		}
		if c.Key() > Completed || strings.HasPrefix(c.Key().String(), "sense key") {
			t.Errorf("%s has key %v", name, c.Key())
		}
		if other := seen[v]; other != "" {
			t.Errorf("%s and %s are both %v", name, other, c)
		}
		seen[v] = name
	}
}

func TestEveryOpcodeHasName(t *testing.T) {
	opcodes := constants(t, "opcode.go", "Op")
	if len(opcodes) < 50 {
		t.Fatalf("%d operation codes found, want at least 50", len(opcodes))
	}
	names := make(map[string]string)
	for constant, v := range opcodes {
		name := Opcode(v).String()
		if strings.HasPrefix(name, "opcode") {
			t.Errorf("%s has no name", constant)
		}
		if other := names[name]; other != "" {
			t.Errorf("%s and %s are both %q", constant, other, name)
		}
		names[name] = constant
		// A name that tells the length must agree with the group code.
		cdb := CDB{0: byte(v)}
		n, err := cdb.Len()
		if open := strings.IndexByte(name, '('); open > 0 && (err != nil || name[open:] != "("+strconv.Itoa(n)+")") {
			t.Errorf("%q has %d bytes by its group, %v", name, n, err)
		}
	}
}

func TestEveryStatusHasName(t *testing.T) {
	statuses := constants(t, "status.go", "Status")
	if len(statuses) != 8 {
		t.Fatalf("%d statuses found, want 8", len(statuses))
	}
	for constant, v := range statuses {
		want := strings.ToLower(strings.TrimPrefix(constant, "Status"))
		if got := strings.ToLower(strings.ReplaceAll(Status(v).String(), " ", "")); got != want {
			t.Errorf("%s is %q", constant, Status(v))
		}
	}
}

func TestEveryStateHasName(t *testing.T) {
	for _, s := range []AccessState{ActiveOptimized, ActiveNonOptimized, Standby, Unavailable, LBADependent, Offline, Transitioning} {
		if strings.HasPrefix(s.String(), "access state") {
			t.Errorf("access state %d has no name", s)
		}
	}
	for _, r := range []ReservationType{
		NoReservation, WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly,
		ExclusiveAccessRegistrantsOnly, WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants,
	} {
		if strings.HasPrefix(r.String(), "reservation type") {
			t.Errorf("reservation type %d has no name", r)
		}
	}
	cdb := CDB{0: 0x9e, 1: 0xf0}
	if got := cdb.ServiceAction(); got != ActionReadCapacity16 {
		t.Errorf("ServiceAction() = %02x, want 10", got)
	}
}
