// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pathgate/multipath"
)

var update = flag.Bool("update", false, "write golden files anew")

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
	got, err := Parse("example.yaml", []byte(exampleConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		State:     "/var/lib/pathgate",
		Control:   ListenAddr{"unix", "/run/pathgate/control.sock"},
		Initiator: "iqn.2026-11.internal.pathgate:host-a",
		Adapters: []AdapterConfig{
			{Name: "vmhba0", Address: netip.MustParseAddr("127.0.0.1")},
			{Name: "vmhba1", Address: netip.MustParseAddr("127.0.0.2")},
		},
		Targets: []TargetConfig{{
			Portals:      []Portal{{"127.0.0.1", 13260}, {"127.0.0.1", 13261}},
			Adapters:     []string{"vmhba0", "vmhba1"},
			HeaderDigest: DigestNone,
			DataDigest:   DigestNone,
			LUNRange:     LUNRange{0, 255},
		}},
		LUNs: []LUNRule{{
			ID: "*", Selector: multipath.Selection{Name: "service-time"}, AllPathsDown: AllPathsDown{Mode: AllPathsDownQueue}, Cache: CacheVolatile,
			Marginal: defaultMarginal(), Failback: Failback{Mode: FailbackDelayed},
			Fence: FenceConfig{Reset: FenceResetAuto}, Reservation: ReservationConfig{Mode: ReservationNone},
			Scheduler: defaultScheduler(), QueueCommands: 1024, QueueBytes: 64 << 20,
		}},
		VMs: []VMConfig{{Name: "vm1", Priority: 5, Clients: ClientsExclusive, Disks: []DiskConfig{
			{Name: "root", Extents: []ExtentConfig{{"vmhba0:0:1", 0, 64 << 20}}, Open: OpenWait, Clients: ClientsExclusive, MultiConn: MultiConnAuto, ClientResize: ClientResizeOff, Share: DiskShare{Shares: 1000}},
			{Name: "scratch", File: "/var/lib/pathgate/vm1-scratch.img", Size: 1 << 30, Open: OpenWait, Clients: ClientsExclusive, MultiConn: MultiConnAuto, ClientResize: ClientResizeOff, Share: DiskShare{Shares: 1000}},
		}}},
		NBD: NBDConfig{
			Listen:   []NBDListener{{ListenAddr: ListenAddr{"unix", "/run/pathgate/nbd.sock"}}, {ListenAddr: ListenAddr{"tcp", "127.0.0.1:10809"}}},
			OpenWait: 30 * time.Second, OnStop: StopError,
		},
		ISCSI:    ISCSIConfig{Prefix: "iqn.2026-11.internal.pathgate", QueueDepth: 128},
		Timeouts: DefaultTimeouts(), Marginal: defaultMarginal(),
	}
	want.Limits.applyDefaults(memoryOfHost())
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// TestB57BadConfigs holds each testdata/config/*.yaml against its .want: all faults,
// then the excerpts.
func TestB57BadConfigs(t *testing.T) {
	files := must[[]string](t)(filepath.Glob("testdata/config/*.yaml"))
	if len(files) < 20 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			_, err := parseConfig(name, must[[]byte](t)(os.ReadFile(file)), testHost(nil), false)
			got := "accepted\n"
			var ce *ConfigError
			if errors.As(err, &ce) {
				var b strings.Builder
				if err := ce.Excerpt(&b); err != nil {
					t.Fatal(err)
				}
				got = err.Error() + "\n\n" + b.String()
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(must[[]byte](t)(os.ReadFile(golden))), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func testHost(env map[string]string) host {
	return host{uid: 0, name: "host-a", home: "/root", env: func(k string) string { return env[k] }}
}
