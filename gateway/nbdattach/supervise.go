// SPDX-License-Identifier: Apache-2.0

package nbdattach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookInterval is how often it is looked whether the device is still there.
	lookInterval = time.Second
	// A server that does not answer is tried again after a pause that doubles.
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// Supervise gives the device new connections for those that it loses, and lets it grow
// with its export. It returns nil when the device was detached or ctx ends; the
// device is left as it is.
func (d *Device) Supervise(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	lost := make(chan struct{}, 1)
	failed := make(chan error, 1)
	wg.Go(func() {
		failed <- d.kernel.links(ctx, func(index int) {
			if index == d.index || index == -1 {
				select {
				case lost <- struct{}{}:
				default:
				}
			}
		})
	})
	look := time.NewTicker(cmp.Or(d.cfg.look, lookInterval))
	defer look.Stop()
	grown := time.Now()
	again := time.NewTimer(time.Hour) // set when a connection is to be tried again
	pause := firstPause
	mend := func() {
		if d.mend(ctx) {
			pause = firstPause
			return
		}
		again.Reset(pause)
		pause = min(2*pause, lastPause)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-lost:
			pause = firstPause
			d.unknown = d.inherited
			mend()
		case <-again.C:
			mend()
		case <-look.C:
			if up, err := d.kernel.connected(d.index); err == nil && !up || !d.cfg.host.running(d.index) {
				d.cfg.Log("%s: detached", d.Name())
				return nil
			}
			if d.cfg.LookAgain > 0 && time.Since(grown) >= d.cfg.LookAgain {
				d.grow(ctx)
				grown = time.Now()
			}
		}
	}
}

// mend replaces every connection that is lost, and tells whether none is left.
func (d *Device) mend(ctx context.Context) bool {
	for {
		hung := d.hung()
		if len(hung) == 0 && !d.unknown {
			return true
		}
		if !d.cfg.host.running(d.index) {
			return true // Supervise sees it too
		}
		c, err := d.dial(ctx)
		if err != nil {
			d.complain(ctx, err)
			return false
		}
		if err := d.same(&c.export); err != nil {
			c.Close()
			d.complain(ctx, fmt.Errorf("not connected again: %w", err))
			return false
		}
		taken, err := d.give(c)
		switch {
		case err != nil:
			d.complain(ctx, err)
			return false
		case taken:
			d.said = ""
			if len(hung) > 0 {
				d.forget(hung[0])
			}
			d.cfg.Log("%s: connected again, %d of %d connections", d.Name(), d.Connections(), len(d.links))
		case len(hung) == 0:
			d.unknown = false // all that there were from before live
			return true
		default:
			return false // the kernel does not know of it yet
		}
	}
}

// give offers a connection to the kernel, and tells whether it was taken for a dead one.
func (d *Device) give(c *conn) (taken bool, err error) {
	grown := c.export.Size
	fd, err := c.descriptor()
	if err != nil {
		return false, err
	}
	s := d.settings()
	s.sockets = []int{fd}
	if grown > d.export.Size {
		s.size, s.blockSize = grown-grown%d.block, d.block
	}
	if err = d.kernel.reconfigure(&s); err == nil {
		d.resized(grown)
		taken, err = hasSendTimeout(fd)
	}
	if !taken {
		return false, errors.Join(err, unix.Close(fd))
	}
	d.links = append(d.links, link{fd})
	return true, nil
}

// hasSendTimeout tells whether the driver has made a socket its own: it sets a send
// timeout on it then (nbd_reconnect_socket).
func hasSendTimeout(fd int) (bool, error) {
	tv, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
	return err == nil && (tv.Sec != 0 || tv.Usec != 0), err
}

// hung gives the indices of links that are dead: the driver shuts their sockets down.
func (d *Device) hung() []int {
	p := make([]unix.PollFd, len(d.links))
	for i, l := range d.links {
		p[i].Fd = int32(l.fd)
	}
	if _, err := unix.Poll(p, 0); err != nil {
		return nil // interrupted: there is a next time
	}
	var list []int
	for i := range p {
		if p[i].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			list = append(list, i)
		}
	}
	return list
}

// forget drops a link that was replaced.
func (d *Device) forget(i int) {
	_ = unix.Close(d.links[i].fd)
	d.links = append(d.links[:i], d.links[i+1:]...)
}

// grow asks for the export's size. A server that does not answer is for mend.
func (d *Device) grow(ctx context.Context) {
	c, err := d.open(ctx, optInfo)
	if err != nil {
		return
	}
	c.Close()
	if c.export.Size <= d.export.Size || d.same(&c.export) != nil {
		return
	}
	s := d.settings()
	s.size, s.blockSize = c.export.Size-c.export.Size%d.block, d.block
	if err := d.kernel.reconfigure(&s); err != nil {
		d.complain(ctx, err)
		return
	}
	d.resized(c.export.Size)
}

func (d *Device) resized(size uint64) {
	if size <= d.export.Size {
		return
	}
	d.export.Size = size
	d.cfg.Log("%s: has grown to %d bytes", d.Name(), d.Size())
}

// same tells why a connection cannot be one of the device's: what the kernel and file
// systems know of it may not change, but that it grows.
func (d *Device) same(e *Export) error {
	flags := e.Flags
	if d.cfg.ReadOnly {
		flags |= ReadOnly
	}
	needed := d.export.Flags & (SendFlush | SendFUA | SendTrim | SendWriteZeroes)
	if d.multi {
		needed |= CanMultiConn
	}
	switch had := &d.export; {
	case e.Size < had.Size:
		return fmt.Errorf("%s has %d bytes, and had %d", d.cfg.Export, e.Size, had.Size)
	case max(512, uint64(e.MinBlock)) != d.block:
		return fmt.Errorf("%s has blocks of %d bytes, and had %d", d.cfg.Export, e.MinBlock, d.block)
	case flags&needed != needed || (flags^had.Flags)&ReadOnly != 0:
		return fmt.Errorf("%s has other properties than before: transmission flags %#x, before %#x", d.cfg.Export, uint16(flags), uint16(had.Flags))
	}
	return nil
}

// complain logs an error once.
func (d *Device) complain(ctx context.Context, err error) {
	if text := err.Error(); text != d.said && ctx.Err() == nil {
		d.said = text
		d.cfg.Log("%s: %v", d.Name(), err)
	}
}
