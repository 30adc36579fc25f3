// SPDX-License-Identifier: Apache-2.0

package share

import "testing"

// TestCompletionIsInBothAccounts has a command come between the two counters that
// a completion lowers: it must see both as they were or have the completion ask
// for a pull. Under a bound of one command nobody else would come.
func TestCompletionIsInBothAccounts(t *testing.T) {
	var sent []*Cmd
	d, err := NewDisk(fixedDepth(64), NewPacer(nil, nil), func(_ any, cmds []*Cmd) { sent = append(sent, cmds...) })
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.AddFlow(DefaultEntitlement())
	if err != nil {
		t.Fatal(err)
	}
	if d.Commands(1) {
		d.Pull(nil)
	}
	one, two := &Cmd{Class: ClassRead, Bytes: 4096}, &Cmd{Class: ClassRead, Bytes: 4096}
	d.Submit(nil, f, []*Cmd{one})
	// Complete(one), step by step as in disk.go.
	d.commands.Add(-1)
	d.Submit(nil, f, []*Cmd{two}) // on another goroutine
	if d.word.add(-int64(one.cost)).queued() > 0 {
		d.Pull(nil)
	}
	if len(sent) != 2 {
		t.Errorf("%d commands issued of 2; %d wait, with nothing in flight and nobody to come", len(sent), d.word.load().queued())
	}
}
