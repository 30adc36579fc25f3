// SPDX-License-Identifier: Apache-2.0

package gotgt

import (
	"fmt"
	"net"
)

// freePort finds a port that is free on every address and not among used. It
// may be taken by somebody else before the process listens: then Start fails.
func freePort(used map[uint16]int) (uint16, error) {
	for range 16 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		if _, taken := used[port]; !taken {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: all that were offered are in use")
}
