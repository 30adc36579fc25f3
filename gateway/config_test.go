// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
)

const exampleConfig = `
state: /var/lib/pathgate
control: unix:/run/pathgate/control.sock
initiator: iqn.2026-11.internal.pathgate:host-a      # default: from the host name
adapters:
  - {name: vmhba0, address: 127.0.0.1}        # or interface: eth1
  - {name: vmhba1, address: 127.0.0.2}
targets:
  - portals: [127.0.0.1:13260, 127.0.0.1:13261]   # sessions go to these; SendTargets at each supplies the names
    # name: iqn...   only this target        discover: true   also advertised portals, inside allowed-networks
    # chap: {user: u, secret-file: /etc/pathgate/chap}   mutual-user, mutual-secret-file
    # adapters: [vmhba0]                        default: all
luns:
  - {id: "*", selector: service-time, all-paths-down: queue}   # per identity or alias; first match wins
vms:
  - name: vm1
    priority: 5
    disks:
      - {name: root, lun: vmhba0:0:1, offset: 0, size: 64MiB}    # lun: identity, alias or canonical name
      - {name: scratch, file: /var/lib/pathgate/vm1-scratch.img, size: 1GiB}
nbd:
  listen: [unix:/run/pathgate/nbd.sock, 127.0.0.1:10809]       # export names vm1/root, vm1/scratch
timeouts: {}                                     # DESIGN.md section 8
`

func TestExampleParses(t *testing.T) {
	c, err := Parse("example.yaml", []byte(exampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c.VMs)
}
