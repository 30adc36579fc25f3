// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clientsConfig has all words of both keys.
const clientsConfig = `
vms:
  - name: vm1
    clients: takeover
    disks:
      - {name: a, file: /a}
      - {name: b, file: /b, clients: shared, multi-conn: never}
      - {name: c, file: /c, clients: exclusive, multi-conn: always}
  - name: vm2
    disks:
      - {name: a, file: /d, multi-conn: auto}
nbd: {listen: [127.0.0.1]}
`

// TestClientsConfig: a disk has what its VM says, unless it says something itself.
func TestClientsConfig(t *testing.T) {
	var got []string
	for _, vm := range mustParse(t, clientsConfig).VMs {
		for _, d := range vm.Disks {
			got = append(got, vm.Name+"/"+d.Name+" "+string(d.Clients)+" "+string(d.MultiConn))
		}
	}
	want := []string{"vm1/a takeover auto", "vm1/b shared never", "vm1/c exclusive always", "vm2/a exclusive auto"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestClientsMistakes: a word that there is not is told with its place and with those
// that there are.
func TestClientsMistakes(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"clients: takeover", "clients: steal", `4:14: vms[0].clients: "steal" is not known (one of exclusive, takeover, shared)`},
		{"clients: takeover", "clients: Takeover", `vms[0].clients: "Takeover"`},
		{"clients: takeover", `clients: ""`, `vms[0].clients: `},
		{"clients: takeover", "clients: [shared]", `4:14: vms[0].clients: `},
		{"clients: shared", "clients: none", `7:38: vms[0].disks[1].clients: "none" is not known (one of exclusive, takeover, shared)`},
		{"multi-conn: never", "multi-conn: false", `7:58: vms[0].disks[1].multi-conn: "false" is not known (one of auto, always, never)`},
		{"multi-conn: auto", "multi-conn: 4", `11:41: vms[1].disks[0].multi-conn: "4" is not known (one of auto, always, never)`},
		{"clients: takeover", "multi-conn: auto", `4:5: vms[0].multi-conn: unknown key`}, // of disks only
	} {
		t.Run(tt.to, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(strings.Replace(clientsConfig, tt.from, tt.to, 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
