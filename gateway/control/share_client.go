// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Shares gives what every VM gets of every LUN.
func (c *Client) Shares(ctx context.Context) (list []Share, err error) {
	return list, c.get(ctx, &list, "shares")
}

// DiskShare gives what is set for the disk of a full name, "vm1/root".
func (c *Client) DiskShare(ctx context.Context, disk string) (d DiskShare, err error) {
	return d, c.diskShare(ctx, http.MethodGet, &d, nil, disk)
}

// SetDiskShare sets it, and gives it as it is then.
func (c *Client) SetDiskShare(ctx context.Context, disk string, to ShareChange) (d DiskShare, err error) {
	return d, c.diskShare(ctx, http.MethodPatch, &d, to, disk)
}

// ResetDiskShare goes back to the configuration.
func (c *Client) ResetDiskShare(ctx context.Context, disk string) (d DiskShare, err error) {
	return d, c.diskShare(ctx, http.MethodDelete, &d, nil, disk)
}

func (c *Client) diskShare(ctx context.Context, method string, answer, body any, name string) error {
	vm, disk, ok := strings.Cut(name, "/")
	if !ok {
		return &Error{CodeNotFound, fmt.Sprintf("disk %s: a name is VM/DISK", shorten(name))}
	}
	return c.call(ctx, method, answer, body, "shares", vm, disk)
}

// VMShare gives what is set for a VM and its disks.
func (c *Client) VMShare(ctx context.Context, vm string) (v VMShare, err error) {
	return v, c.get(ctx, &v, "shares", vm)
}

// SetVMShare sets it, and gives it as it is then.
func (c *Client) SetVMShare(ctx context.Context, vm string, to VMShareChange) (v VMShare, err error) {
	return v, c.call(ctx, http.MethodPatch, &v, to, "shares", vm)
}

// ResetVMShare goes back to the configuration, for the VM, not for its disks.
func (c *Client) ResetVMShare(ctx context.Context, vm string) (v VMShare, err error) {
	return v, c.call(ctx, http.MethodDelete, &v, nil, "shares", vm)
}

// ShareLUNs gives the schedulers of all LUNs.
func (c *Client) ShareLUNs(ctx context.Context) (list []ShareLUN, err error) {
	return list, c.get(ctx, &list, "share-luns")
}

// ShareLUN gives the scheduler of the LUN with a canonical name, alias or identity.
func (c *Client) ShareLUN(ctx context.Context, name string) (l ShareLUN, err error) {
	return l, c.get(ctx, &l, "share-luns", name)
}

// SetLUNShare sets its knobs, and gives it as it is then.
func (c *Client) SetLUNShare(ctx context.Context, name string, to LUNShareChange) (l ShareLUN, err error) {
	return l, c.call(ctx, http.MethodPatch, &l, to, "share-luns", name)
}

// ResetLUNShare goes back to the configuration.
func (c *Client) ResetLUNShare(ctx context.Context, name string) (l ShareLUN, err error) {
	return l, c.call(ctx, http.MethodDelete, &l, nil, "share-luns", name)
}

// GroupShares gives what is set for all groups.
func (c *Client) GroupShares(ctx context.Context) (list []GroupShare, err error) {
	return list, c.get(ctx, &list, "share-groups")
}

// GroupShare gives what is set for one group.
func (c *Client) GroupShare(ctx context.Context, name string) (g GroupShare, err error) {
	return g, c.get(ctx, &g, "share-groups", name)
}

// SetGroupShare sets it, and gives it as it is then.
func (c *Client) SetGroupShare(ctx context.Context, name string, to GroupShareChange) (g GroupShare, err error) {
	return g, c.call(ctx, http.MethodPatch, &g, to, "share-groups", name)
}

// ResetGroupShare goes back to the configuration.
func (c *Client) ResetGroupShare(ctx context.Context, name string) (g GroupShare, err error) {
	return g, c.call(ctx, http.MethodDelete, &g, nil, "share-groups", name)
}

// Explain gives the newest decisions about a VM, a disk or a LUN, or, for "", about
// all; oldest first. last is how many, 0: 20.
func (c *Client) Explain(ctx context.Context, of string, last int) (list []Explanation, err error) {
	q := url.Values{}
	if of != "" {
		q.Set("of", of)
	}
	if last != 0 {
		q.Set("last", strconv.Itoa(last))
	}
	return list, c.exchange(ctx, http.MethodGet, address("explain")+"?"+q.Encode(), &list, nil)
}
