// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"sync"
	"testing"

	nc "pathgate/integration/nbdclient"
)

// B56: requests that are aborted while they complete are answered once at most, and
// what they held is given back once.
func TestB56AbortRacesCompletion(t *testing.T) {
	const depth = 6
	bed := newFuzzBed(t)
	for round := range 150 {
		d := dialects[round%len(dialects)]
		r := bed.dial(t)
		var selected []uint32
		if err := bed.begin(r, d, []string{"base:allocation"}, &selected); err != nil {
			t.Fatal(err)
		}
		bed.dev.hold()
		var msg []byte
		for i := range depth {
			a := nc.Asked{Cmd: []nc.Command{nc.CmdRead, nc.CmdFlush, nc.CmdTrim}[i%3], Cookie: uint64(i), Length: 4096}
			if a.Cmd == nc.CmdFlush {
				a.Length = 0
			}
			msg = d.Append(msg, &a)
		}
		list, _ := readRequests(d, selected, msg)
		if err := r.Send(msg); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all are held", func() bool { return bed.dev.heldCount() == depth })
		replies := make(chan error, 1)
		go func() { replies <- takeReplies(r, list) }()
		var wg sync.WaitGroup
		wg.Go(func() { bed.Withdraw(ended(t), "x") })
		wg.Go(bed.dev.release)
		wg.Wait()
		if err := <-replies; err != nil { // Take tells of a second reply
			t.Fatal(err)
		}
		r.Close()
		bed.idle(t)
	}
}
