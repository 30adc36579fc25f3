// SPDX-License-Identifier: Apache-2.0

package tgtd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	o := Options{Targets: []Target{
		{
			Name: "iqn.2026-11.test:a", User: "u", Secret: "s", MutualUser: "m", MutualSecret: "n",
			LUNs: []LUN{{
				File: "/f 1", BlockSize: 4096, SCSIID: "id", SCSISN: "sn", Vendor: "V", Product: "P", Revision: "1",
				WriteThrough: true, Thin: true, ReadOnly: true, BackingType: "aio",
			}},
		},
		{Name: "iqn.2026-11.test:b", User: "u", Secret: "s", Digests: true, Initiators: []string{"127.0.0.2", "iqn.x"}},
	}}
	want := []string{
		"--mode target --tid 1 --op new --targetname iqn.2026-11.test:a",
		"--mode logicalunit --tid 1 --lun 1 --op new --backing-store /f 1 --bstype aio --blocksize 4096",
		"--mode logicalunit --tid 1 --lun 1 --op update --params scsi_id=id",
		"--mode logicalunit --tid 1 --lun 1 --op update --params scsi_sn=sn",
		"--mode logicalunit --tid 1 --lun 1 --op update --params vendor_id=V",
		"--mode logicalunit --tid 1 --lun 1 --op update --params product_id=P",
		"--mode logicalunit --tid 1 --lun 1 --op update --params product_rev=1",
		"--mode logicalunit --tid 1 --lun 1 --op update --params " + cachingWriteThrough,
		"--mode logicalunit --tid 1 --lun 1 --op update --params thin_provisioning=1",
		"--mode logicalunit --tid 1 --lun 1 --op update --params readonly=1",
		"--mode account --op new --user u --password s",
		"--mode account --op bind --tid 1 --user u",
		"--mode account --op new --user m --password n",
		"--mode account --op bind --tid 1 --user m --outgoing",
		"--mode target --tid 1 --op bind --initiator-address ALL",
		"--mode target --tid 2 --op new --targetname iqn.2026-11.test:b",
		"--mode account --op bind --tid 2 --user u", // accounts are global: not made twice
		"--mode target --tid 2 --op update --name HeaderDigest --value CRC32C",
		"--mode target --tid 2 --op update --name DataDigest --value CRC32C",
		"--mode target --tid 2 --op bind --initiator-address 127.0.0.2",
		"--mode target --tid 2 --op bind --initiator-name iqn.x",
	}
	var got []string
	for _, c := range o.commands() {
		got = append(got, strings.Join(c, " "))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want string // part of the error; "" for none
	}{
		{"empty", Options{}, ""},
		{"good", Options{Targets: []Target{{Name: "iqn.a", LUNs: []LUN{{SizeBytes: 1}, {File: "/x"}}}}}, ""},
		{"no name", Options{Targets: []Target{{}}}, "needs a name"},
		{"no secret", Options{Targets: []Target{{Name: "iqn.a", User: "u"}}}, "CHAP"},
		{"no mutual user", Options{Targets: []Target{{Name: "iqn.a", MutualSecret: "s"}}}, "CHAP"},
		{"no size", Options{Targets: []Target{{Name: "iqn.a", LUNs: []LUN{{}}}}}, "LUN 1: size 0"},
		{"negative", Options{Targets: []Target{{Name: "iqn.a", LUNs: []LUN{{File: "/x", SizeBytes: -1}}}}}, "size -1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestGrowNeverShrinks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for _, step := range []struct{ size, want int64 }{{4096, 4096}, {8192, 8192}, {512, 8192}, {0, 8192}} {
		if err := grow(file, step.size); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() != step.want {
			t.Errorf("grow(%d): got size %d, want %d", step.size, st.Size(), step.want)
		}
	}
}

func TestURL(t *testing.T) {
	a := Target{Name: "iqn.2026-11.test:a"}
	if got, want := a.url("127.0.0.1:1", 2), "iscsi://127.0.0.1:1/iqn.2026-11.test:a/2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	a.User, a.Secret = "u", "s"
	if got, want := a.url("127.0.0.1:1", 2), "iscsi://u%s@127.0.0.1:1/iqn.2026-11.test:a/2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
