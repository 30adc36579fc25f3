// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net/http"
	"net/url"
)

// FailPath takes a path down as a fault would, and gives it as it is then. The last
// usable path of a device is refused (CodeConflict) unless force is set.
func (c *Client) FailPath(ctx context.Context, name string, hold, force bool) (p Path, err error) {
	return p, c.call(ctx, http.MethodPost, &p, failBody{Hold: hold, Force: force}, "paths", name, "fail")
}

// ReinstatePath has a path proved now, and gives it as it is then: Path.Proving tells
// when the proof is over.
func (c *Client) ReinstatePath(ctx context.Context, name string) (p Path, err error) {
	return p, c.call(ctx, http.MethodPost, &p, nil, "paths", name, "reinstate")
}

// StartRescan begins to look for targets and LUNs, over one adapter, or over all if
// adapter is "".
func (c *Client) StartRescan(ctx context.Context, adapter string) (r Rescan, err error) {
	return r, c.call(ctx, http.MethodPost, &r, rescanBody{Adapter: adapter}, "rescan")
}

// Rescan gives the one that was begun last.
func (c *Client) Rescan(ctx context.Context) (r Rescan, err error) {
	return r, c.get(ctx, &r, "rescan")
}

// Topology gives devices with their groups, paths and disks: one, or all if device is
// "".
func (c *Client) Topology(ctx context.Context, device string) (list []Topology, err error) {
	to := address("topology")
	if device != "" {
		to += "?" + url.Values{"device": {device}}.Encode()
	}
	return list, c.exchange(ctx, http.MethodGet, to, &list, nil)
}

// Simulate tells what would be left of a device, or, if device is "", of all that are
// concerned, without adapters, portals, targets or paths of these names.
func (c *Client) Simulate(ctx context.Context, device string, without ...string) (list []Simulation, err error) {
	q := url.Values{"without": without}
	if device != "" {
		q.Set("device", device)
	}
	return list, c.exchange(ctx, http.MethodGet, address("simulate")+"?"+q.Encode(), &list, nil)
}
