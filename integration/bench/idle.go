// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	"pathgate/integration/nbdclient"
)

// Idle is what idle NBD connections cost the gateway in memory.
type Idle struct {
	Connections int
	// Resident memory of the gateway in bytes: before, with all connections open
	// and unused, and after each of them has read and written 256 KiB.
	Before, Open, Used int64
}

// PerConnection is what one unused connection adds, in bytes.
func (i Idle) PerConnection() int64 { return (i.Open - i.Before) / int64(i.Connections) }

const idleBytes = 256 << 10

func measureIdle(ctx context.Context, c *contender, n int) (Idle, error) {
	idle := Idle{Connections: n}
	var err error
	if idle.Before, err = residentBytes(c.pid()); err != nil {
		return idle, err
	}
	clients := make([]*nbdclient.Client, 0, n)
	defer func() {
		for _, cl := range clients {
			cl.Close()
		}
	}()
	for i := range n {
		cl, err := nbdclient.Connect(ctx, nbdclient.Config{Addr: "unix:" + c.socket, Export: c.export})
		if err != nil {
			return idle, fmt.Errorf("connection %d of %d: %w", i+1, n, err)
		}
		clients = append(clients, cl)
	}
	if idle.Open, err = residentBytes(c.pid()); err != nil {
		return idle, err
	}
	data := make([]byte, idleBytes)
	for i, cl := range clients {
		at := int64(i) * idleBytes % diskBytes
		if _, err := cl.ReadAt(data, at); err != nil {
			return idle, fmt.Errorf("connection %d: %w", i+1, err)
		}
		if _, err := cl.WriteAt(data, at); err != nil {
			return idle, fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	idle.Used, err = residentBytes(c.pid())
	return idle, err
}
