// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"pathgate/backends"
	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
)

// Growth of disks whose size is this gateway's: those in regular files. The file's own
// length keeps it over a restart. Everybody else learns of it as of the growth of a
// LUN: the file tells its router and its disk, and these their connections and sessions.

// grower is a device whose size can be set here, such as *backends.File.
type grower interface {
	backends.Device
	CanGrow() bool
	Grow(size uint64, thin bool) error
}

// Why a disk does not grow. Those of package backends come too.
var (
	errSizeLimit = errors.New("more than the disk may have")
	errSizeWhole = errors.New("not in whole blocks")
	errSizeFixed = errors.New("the disk has a fixed size")
	errNotThere  = errors.New("the disk is not available")
)

// grower gives what the disk is on, when its size is the gateway's.
func (d *servedDisk) grower() (grower, error) {
	c := d.cfg
	switch {
	case c.ReadOnly:
		return nil, fmt.Errorf("%w: it is only read", errSizeFixed)
	case c.File == "" && c.Extents[len(c.Extents)-1].Size == 0:
		return nil, fmt.Errorf("%w: it is that of its LUN; when the target makes %s grow, the disk follows", errSizeFixed, c.Extents[len(c.Extents)-1].LUN)
	case c.File == "":
		return nil, fmt.Errorf("%w: it is that of its extents, in the configuration", errSizeFixed)
	}
	d.Disk.mu.Lock()
	defer d.Disk.mu.Unlock()
	rt := d.pieces[0].router
	if rt == nil {
		return nil, errNotThere
	}
	dev, ok := rt.Device().(grower)
	if !ok || !dev.CanGrow() {
		return nil, fmt.Errorf("%w: it is on a block device", errSizeFixed)
	}
	return dev, nil
}

// sizeLimit is how large the disk may become, for the next start has to find the same
// size: a file that is longer than Size is not used whole without MaxSize.
func (c *DiskConfig) sizeLimit() (limit uint64, why string) {
	switch {
	case c.MaxSize > 0:
		return uint64(c.MaxSize), "max-size is " + c.MaxSize.String()
	case c.Size > 0:
		return uint64(c.Size), "the configuration has size: " + c.Size.String() + " without a max-size"
	}
	return uint64(MaxSize), "that is no size"
}

// grow has the disk become size bytes long. from is what it had.
func (d *servedDisk) grow(size uint64, thin bool) (from uint64, err error) {
	dev, err := d.grower()
	if err != nil {
		return 0, err
	}
	info := dev.Info()
	limit, why := d.cfg.sizeLimit()
	switch {
	case size < info.Size:
		err = fmt.Errorf("%w: it has %v", backends.ErrShrink, Size(info.Size))
	case size%uint64(info.LogicalBlock) != 0:
		err = fmt.Errorf("%w, of %d bytes", errSizeWhole, info.LogicalBlock)
	case size > limit && size > info.Size:
		err = fmt.Errorf("%w: %s", errSizeLimit, why)
	default:
		err = dev.Grow(size, thin)
	}
	return info.Size, err
}

// resize is grow with its event; by names who wants it.
func (g *Gateway) resize(d *servedDisk, size uint64, thin bool, by, session string) (from uint64, err error) {
	from, err = d.grow(size, thin)
	e := Event{
		Kind: KindDiskResized, Severity: SeverityNotice, VM: d.VM(), Disk: d.FullName(), Session: session,
		Message: fmt.Sprintf("has %v, %v before, as %s wanted", Size(size), Size(from), by),
		Attrs:   []Attr{{"from", strconv.FormatUint(from, 10)}, {"to", strconv.FormatUint(size, 10)}},
	}
	switch {
	case err == nil && from == size, isSizeRefusal(err):
		return from, err
	case err != nil:
		e.Kind, e.Severity = KindDiskResizeFailed, SeverityWarning
		e.Message = fmt.Sprintf("cannot have %v, as %s wants: %v", Size(size), by, err)
	}
	g.bus.Publish(e)
	return from, err
}

// isSizeRefusal tells whether nothing was tried.
func isSizeRefusal(err error) bool {
	for _, r := range []error{backends.ErrShrink, backends.ErrFixedSize, errSizeLimit, errSizeWhole, errSizeFixed, errNotThere, os.ErrClosed} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}

// resize gives what an NBD client may do to the size of a disk; nil: nothing.
func (x *exports) resize(d *servedDisk, peer *nbd.Peer) func(size uint64) error {
	if d.cfg.ClientResize != ClientResizeGrow {
		return nil
	}
	if _, err := d.grower(); err != nil {
		return nil
	}
	by, session := nbdClient(peer).name, peer.Connection
	return func(size uint64) error {
		if u := d.unit.Load(); u != nil && !u.Allows(true) {
			return fmt.Errorf("%w: an initiator has it reserved", nbd.ErrNotPermitted)
		}
		_, err := (*Gateway)(x).resize(d, size, false, by, session)
		return nbdResizeError(err)
	}
}

// nbdResizeError says it in the server's words.
func nbdResizeError(err error) error {
	for _, r := range [...][2]error{
		{backends.ErrShrink, nbd.ErrShrink},
		{backends.ErrNoSpace, nbd.ErrNoSpace},
		{errSizeLimit, nbd.ErrTooLarge},
		{os.ErrClosed, nbd.ErrShutdown},
	} {
		if errors.Is(err, r[0]) {
			return fmt.Errorf("%w: %w", r[1], err)
		}
	}
	if isSizeRefusal(err) {
		return fmt.Errorf("%w: %w", nbd.ErrNotPermitted, err)
	}
	return err
}

// ResizeDisk has a disk grow.
func (s *adminView) ResizeDisk(name string, to control.Resize) (out control.Resized, err error) {
	d := s.byName[name]
	if d == nil {
		return out, fmt.Errorf("disk %s: %w", name, control.ErrNotFound)
	}
	out = control.Resized{Disk: name, Size: to.Size}
	out.From, err = (*Gateway)(s).resize(d, to.Size, to.Thin, "an administrator", "")
	switch {
	case err == nil && to.Reconnect:
		out.Reconnected = s.nbd.Reconnect(name)
	case errors.Is(err, errSizeWhole):
		err = control.Invalid(err)
	case errors.Is(err, backends.ErrNoSpace), isSizeRefusal(err):
		err = control.Conflict(err)
	}
	return out, err
}

var _ control.ResizeSource = adminSource{}
