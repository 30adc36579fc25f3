// SPDX-License-Identifier: Apache-2.0

// Command diskload loads block devices and tells how long requests stood still
// (package load).
//
//	diskload :7000 dm=/dev/dm-0 pathgate=/dev/nbd0
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"pathgate/integration/sidebyside/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "diskload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("want an address to listen on, and devices as NAME=FILE")
	}
	files := map[string]string{}
	for _, a := range args[1:] {
		name, file, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=FILE", a)
		}
		files[name] = file
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	defer ln.Close()
	return load.Serve(ctx, ln, files)
}
