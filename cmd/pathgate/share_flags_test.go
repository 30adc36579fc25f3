// SPDX-License-Identifier: Apache-2.0

package main

import (
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"pathgate/gateway/control"
	"pathgate/share"
)

// example is a value that a flag takes, by its type.
var example = map[string]string{"n": "7", "rate": "5MB/s", "size": "64KiB", "time": "20ms", "word": "some", "name": "g1", "f": "0.5"}

// unset lists the fields of a change that are nil.
func unset(v reflect.Value, path string) (names []string) {
	for i := range v.NumField() {
		f, name := v.Field(i), path+v.Type().Field(i).Name
		switch {
		case f.IsNil():
			names = append(names, name)
		case f.Elem().Kind() == reflect.Struct:
			names = append(names, unset(f.Elem(), name+".")...)
		}
	}
	return names
}

// setAll gives every flag of cmd its example, and lists the flags.
func setAll(t *testing.T, cmd *cobra.Command) (names []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^ +--([a-z-]+)`).FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		f := cmd.Flags().Lookup(m[1])
		names = append(names, f.Name)
		if err := f.Value.Set(example[f.Value.Type()]); err != nil {
			t.Errorf("--%s %s: %v", f.Name, example[f.Value.Type()], err)
		}
		if err := f.Value.Set("\x00"); err == nil && f.Value.Type() != "word" && f.Value.Type() != "name" {
			t.Errorf("--%s takes anything", f.Name)
		}
	}
	return names
}

// TestDiskKnobs: every field of a change has a flag.
func TestDiskKnobs(t *testing.T) {
	var k diskKnobs
	var cmd cobra.Command
	k.flags(knobs{&cmd})
	setAll(t, &cmd)
	if left := unset(reflect.ValueOf(k.change()), ""); len(left) > 0 {
		t.Errorf("no flag sets %v", left)
	}
}

// TestLUNKnobs: every field of a change has a flag, whose name is that of the
// configuration, and which "show" shows.
func TestLUNKnobs(t *testing.T) {
	var c control.LUNShareChange
	var cmd cobra.Command
	lunFlags(knobs{&cmd}, &c)
	names := setAll(t, &cmd)
	if left := unset(reflect.ValueOf(c), ""); len(left) > 0 {
		t.Errorf("no flag sets %v", left)
	}
	shown := []string{"enabled"}
	for _, k := range lunKnobTexts(control.LUNShareSettings{})[1:] {
		shown = append(shown, k[0])
	}
	slices.Sort(shown[1:])
	if !slices.Equal(shown[1:], names) {
		t.Errorf("flags %q\nshown %q", names, shown[1:])
	}
	for _, n := range names {
		if share.Rule(n) == "" {
			t.Errorf("--%s: the configuration has no such key", n)
		}
	}
}

func TestHumanRate(t *testing.T) {
	for n, want := range map[int64]string{
		1: "1B/s", 999: "999B/s", 1000: "1kB/s", 4096: "4KiB/s", 5_000_000: "5MB/s", 8 << 20: "8MiB/s", 100_000_000: "100MB/s",
		1_000_000_000: "1GB/s", 1 << 30: "1GiB/s", 1_234_567: "1234567B/s", 1_024_000: "1024kB/s",
	} {
		if got := humanRate(n); got != want {
			t.Errorf("humanRate(%d) = %s, want %s", n, got, want)
		}
	}
}
