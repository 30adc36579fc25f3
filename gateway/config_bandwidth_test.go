// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseBandwidth(t *testing.T) {
	for in, want := range map[string]Bandwidth{
		"1": 1, "125000000": 125e6, "125000000B/s": 125e6, "1.25GB/s": 1250e6, "1.25 GB/s": 1250e6, "1.25GB": 1250e6,
		"800MiB/s": 800 << 20, "0.5KiB": 512, "10Gbit": 1250e6, "10Gbit/s": 1250e6, "10 Gbit/s": 1250e6, "2.5Gbit": 312500e3,
		"100Mbit": 125e5, "8kbit": 1000, "1Tbit": 125e9, "1.0000000009GB/s": 1000000000, "1000TB/s": 1e15, "007MB": 7e6,
		"0.1GB/s": 100e6, // exact, though 0.1 is no binary fraction
	} {
		if got, err := ParseBandwidth(in); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": errRate, "GB/s": errRate, "10G": errRate, "10Gb": errRate, "10Gb/s": errRate, "10Gbps": errRate, "10gbit": errRate, "10Gibit": errRate,
		"10bit": errRate, "10GB/h": errRate, "10GB/s/s": errRate, "1.GB": errRate, ".5GB": errRate, "1.2.3GB": errRate, "1e9": errRate,
		"+1": errRate, "0x10": errRate, "1/2GB": errRate, "fast": errRate, strings.Repeat("0", 40): errRate,
		"-1": errSizeSign, "-1GB/s": errSizeSign, "0": errBandwidthZero, "0GB/s": errBandwidthZero, "0.0001B": errBandwidthZero, "0.001kbit": errBandwidthZero,
		"1001TB/s": errOutOfRange, "1000000000000001": errOutOfRange, "99999999999999999999GB": errOutOfRange, "8001Tbit": errOutOfRange,
	} {
		if got, err := ParseBandwidth(in); !errors.Is(err, want) {
			t.Errorf("%q: %d, %v; want %v", in, got, err, want)
		}
	}
}

// The keys are there, and faults name them with the rule.
func TestBandwidthKeys(t *testing.T) {
	const text = `
adapters:
  - {name: vmhba0, address: 127.0.0.1, bandwidth: %s}
  - {name: vmhba1, address: 127.0.0.2}
targets:
  - {portals: [san-a], bandwidth: %s}
  - {portals: [san-b]}
`
	c, err := Parse("t.yaml", fmt.Appendf(nil, text, "10Gbit", "125000000"))
	if err != nil {
		t.Fatal(err)
	}
	got := []Bandwidth{c.Adapters[0].Bandwidth, c.Adapters[1].Bandwidth, c.Targets[0].Bandwidth, c.Targets[1].Bandwidth}
	if want := []Bandwidth{1250e6, 0, 125e6, 0}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	_, err = Parse("t.yaml", fmt.Appendf(nil, text, "10G", "0"))
	for _, want := range []string{
		`t.yaml:3:51: adapters[0].bandwidth: "10G" is not a rate (` + bandwidthRule + ")",
		`t.yaml:6:35: targets[0].bandwidth: "0" is 0 (` + bandwidthRule + ")",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The limits reach the path manager, each in its place.
func TestBandwidthOfPaths(t *testing.T) {
	g := &Gateway{cfg: &Config{Initiator: "iqn.2026-11.test:host", Timeouts: DefaultTimeouts()}}
	got, err := g.target(t.Context(), &TargetConfig{Bandwidth: 7})
	if err != nil || got.Bandwidth != 7 {
		t.Errorf("target: %+v, %v", got, err)
	}
	k, err := g.adapter(AdapterConfig{Name: "vmhba0", Bandwidth: 9})
	if err != nil || k.Bandwidth != 9 || k.Name != "vmhba0" || k.Connector == nil {
		t.Errorf("adapter: %+v, %v", k, err)
	}
}
