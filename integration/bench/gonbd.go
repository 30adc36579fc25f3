// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"net"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/pojntfx/go-nbd/pkg/backend"
	"github.com/pojntfx/go-nbd/pkg/server"
)

// ServeGoNBD serves a memory disk of size bytes with the server of go-nbd on a unix
// socket, until ctx ends. It answers in simple replies, and one request of a connection
// after the other.
func ServeGoNBD(ctx context.Context, socket string, size uint64) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	exports := []*server.Export{{Name: "disk", Backend: backend.NewMemoryBackend(make([]byte, size))}}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			_ = server.Handle(conn, exports, nil) // the client knows how it ended
			_ = conn.Close()
		})
	}
}

// moduleVersion gives the version of a module that is built in, behind its name.
func moduleVersion(name, path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path }); i >= 0 {
			return name + " " + info.Deps[i].Version
		}
	}
	return name
}
