// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"

	"pathgate/backends"
	"pathgate/gateway"
	"pathgate/share"
)

// newRouter makes the router of dev with what the members are to get; not scheduled:
// everything passes as it comes.
func newRouter(t testing.TB, dev backends.LUN, s share.Settings, scheduled bool, members []member) *gateway.Router {
	t.Helper()
	plan := gateway.LUNPlan{Device: "lun", Version: 1, Enabled: scheduled, Settings: s, Flows: map[string]gateway.FlowPlan{}}
	for _, m := range members {
		plan.Flows[m.vm] = gateway.FlowPlan{Entitlement: m.Entitlement, Disks: []string{m.vm + "/disk"}}
	}
	rt := gateway.NewRouter(dev, gateway.RouterOptions{Device: gateway.ShareDevice{Name: "lun"}, Plan: &plan})
	t.Cleanup(rt.Close)
	return rt
}
