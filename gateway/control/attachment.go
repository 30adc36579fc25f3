// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"net/http"
)

// Attachment tells how a VM's disks are reached.
type Attachment struct {
	VM string `json:"vm"`
	// NBD are the addresses of the NBD server, "unix:/path" or "ip:port"; none: there is
	// no such server.
	NBD []string `json:"nbd,omitempty"`
	// TLS is what the address at the same place in NBD wants; none: no address wants TLS.
	TLS []AttachTLS `json:"tls,omitempty"`
	// ISCSI is the VM's target; nil: there is none.
	ISCSI *AttachTarget `json:"iscsi,omitempty"`
	Disks []AttachDisk  `json:"disks"`
}

// AttachTLS tells whether an address wants TLS, and a client certificate.
type AttachTLS struct {
	Required    bool `json:"required"`
	Certificate bool `json:"certificate"`
}

// AttachTarget is the iSCSI target of a VM.
type AttachTarget struct {
	Name    string   `json:"name"`
	Portals []string `json:"portals"` // "ip:port"
	// User is the CHAP name that initiators prove, MutualUser the one that the target
	// can prove; "": none.
	User       string `json:"user,omitempty"`
	MutualUser string `json:"mutual_user,omitempty"`
	// Digests are "prefer", "require" (who has no header and data digests is refused) or
	// "off".
	Digests string `json:"digests,omitempty"`
	// Initiators are the names that are let in; none: all.
	Initiators []string `json:"initiators,omitempty"`
}

// AttachDisk is one disk of the VM.
type AttachDisk struct {
	Name     string `json:"name"`   // of the disk in the VM
	Export   string `json:"export"` // "vm1/root"
	LUN      uint16 `json:"lun"`    // only with an iSCSI target
	ReadOnly bool   `json:"read_only"`
	// Why it is not available; "": it is.
	Why string `json:"why,omitempty"`
}

// AttachSource is the part of a Source that knows the front-ends. Called concurrently.
type AttachSource interface {
	// Attachment tells about one VM; an unknown one is ErrNotFound.
	Attachment(vm string) (Attachment, error)
}

func (s *Server) getAttachment(w http.ResponseWriter, r *http.Request) error {
	src, ok := s.src.(AttachSource)
	if !ok {
		return &Error{CodeNotFound, "this gateway does not tell how disks are reached"}
	}
	name := r.PathValue("name")
	if _, err := find("vm", name, s.src.VMs(), func(v VM) []string { return []string{v.Name} }); err != nil {
		return err
	}
	a, err := src.Attachment(name)
	if err != nil {
		return refusal(fmt.Errorf("vm %s: %w", shorten(name), err))
	}
	return writeJSON(w, a)
}

// Attachment tells how a VM's disks are reached.
func (c *Client) Attachment(ctx context.Context, vm string) (a Attachment, err error) {
	return a, c.get(ctx, &a, "vms", vm, "attachment")
}
