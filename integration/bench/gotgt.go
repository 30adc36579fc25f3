// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	"pathgate/integration/gotgt"
)

// GotgtCommand is the first argument of the process that ServeGotgt is for.
const GotgtCommand = gotgt.Command

// ServeGotgt is gotgt in a process of its own, which startGotgt starts.
func ServeGotgt(args []string) error { return gotgt.Main(args) }

// startGotgt serves a file with gotgt. A session of it hangs at the ping that
// initiators send after 5 s.
func startGotgt(ctx context.Context, file string) (*contender, error) {
	t, err := gotgt.Start(ctx, gotgt.Options{
		Target: "iqn.2026-11.test:gotgt", Portals: []string{"127.0.0.1"}, LUNs: []gotgt.LUN{{File: file, Size: diskBytes}},
	})
	if err != nil {
		return nil, err
	}
	url := fmt.Sprintf("iscsi://%s/%s/1", t.Portals()[0], t.Name())
	return &contender{name: "gotgt", image: url, lun: url, pid: t.Pid, stop: t.Close, longest: 4, attempts: 3}, nil
}
