// SPDX-License-Identifier: Apache-2.0

package lio

import (
	"strings"
	"testing"
)

func script(t *testing.T, o Options) string {
	t.Helper()
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	return o.script()
}

func TestScriptContents(t *testing.T) {
	lun := LUN{SizeBytes: 1 << 20}
	tests := []struct {
		name        string
		o           Options
		want, never []string
	}{
		{
			"demo mode",
			Options{LUNs: []LUN{lun}},
			[]string{
				"fd_dev_name=/lun/disk0,fd_dev_size=1048576,fd_buffered_io=1", "tpgt_1/np/0.0.0.0:3260",
				"'1' >'tpgt_1/attrib/generate_node_acls'", "'0' >'tpgt_1/attrib/demo_mode_write_protect'",
				"'0' >'tpgt_1/attrib/authentication'", "'1' >'tpgt_1/enable'",
			},
			[]string{"tpgt_2", "userid", "/acls/", "emulate_tpu", "alua/group"},
		},
		{
			"chap",
			Options{User: "u", Secret: "it's", MutualUser: "m", MutualSecret: "n"},
			[]string{"'1' >'tpgt_1/attrib/authentication'", `'it'\''s' >'tpgt_1/auth/password'`, "'n' >'tpgt_1/auth/password_mutual'"},
			nil,
		},
		{
			"acl",
			Options{LUNs: []LUN{lun}, Initiators: []string{"iqn.x"}, User: "u", Secret: "s"},
			[]string{"mkdir 'tpgt_1/acls/iqn.x'", "'s' >'tpgt_1/acls/iqn.x/auth/password'", "'0' >'tpgt_1/attrib/generate_node_acls'"},
			[]string{"demo_mode_write_protect"},
		},
		{
			"two groups of two",
			Options{LUNs: []LUN{lun}, Groups: []PortalGroup{{Portals: 2}, {Portals: 2}}},
			[]string{"tpgt_1/np/0.0.0.0:3261", "tpgt_2/np/0.0.0.0:3262", "alua/group1", "'group1' >'tpgt_2/lun/lun_0/alua_tg_pt_gp'"},
			nil,
		},
		{
			"lun",
			Options{LUNs: []LUN{{SizeBytes: 8192, BlockSize: 4096, Serial: "77", Vendor: "V", Product: "P", WriteThrough: true, Thin: true}}},
			[]string{"'77' >", "'V' >", "'P' >", "'4096' >", "emulate_tpu", "emulate_tpws"},
			[]string{"fd_buffered_io"},
		},
		{
			"free text",
			Options{
				Attributes: map[string]string{"default_cmdsn_depth": "3"}, Parameters: map[string]string{"HeaderDigest": "CRC32C"},
				Configure: "echo mine",
			},
			[]string{"'3' >'tpgt_1/attrib/default_cmdsn_depth'", "'CRC32C' >'tpgt_1/param/HeaderDigest'", "\necho mine\n"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := script(t, tt.o)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("script lacks %q:\n%s", want, got)
				}
			}
			for _, never := range tt.never {
				if strings.Contains(got, never) {
					t.Errorf("script has %q:\n%s", never, got)
				}
			}
			if enable := strings.Index(got, "tpgt_1/enable"); enable < strings.LastIndex(got, "tpgt_1/attrib") {
				t.Error("the group is enabled before it is configured")
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	a := Options{LUNs: []LUN{{SizeBytes: 1}, {SizeBytes: 1}}}
	b := Options{LUNs: []LUN{{SizeBytes: 1}}, Name: "iqn.other"}
	for _, o := range []*Options{&a, &b} {
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
	}
	if a.LUNs[0].Serial == a.LUNs[1].Serial || a.LUNs[0].Serial == b.LUNs[0].Serial {
		t.Errorf("serial numbers repeat: %+v %+v", a.LUNs, b.LUNs)
	}
	if got, want := a.Groups[0].Addresses, "127.0.0.1:0"; len(got) != 1 || got[0] != want {
		t.Errorf("got addresses %v, want one %s", got, want)
	}
	for name, o := range map[string]Options{
		"size":   {LUNs: []LUN{{}}},
		"secret": {User: "u"},
		"mutual": {MutualSecret: "s"},
	} {
		if err := o.setDefaults(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
