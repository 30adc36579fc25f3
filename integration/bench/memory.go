// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"

	"pathgate/backends"
	"pathgate/gateway/nbd"
)

// one is an export source with one memory disk under every name.
type one struct{ dev backends.Device }

// List gives the one export.
func (o one) List(nbd.Peer) []nbd.Export { return []nbd.Export{{Name: "disk"}} }

// Open gives the disk, whatever the name.
func (o one) Open(_ context.Context, name string, _ nbd.Peer, _ nbd.Mode) (nbd.Handle, error) {
	return nbd.Handle{Export: nbd.Export{Name: name}, Device: o.dev}, nil
}

// ServeMemory serves a memory disk of size bytes with the gateway's NBD server
// on a unix socket, until ctx ends.
func ServeMemory(ctx context.Context, socket string, size uint64) error {
	dev, err := backends.NewMemory(size)
	if err != nil {
		return err
	}
	server, err := nbd.New(nbd.Config{Exports: one{dev}})
	if err != nil {
		return fmt.Errorf("serve memory: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return errors.Join(server.Serve(ctx, l), dev.Close())
}
