// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestRescanOfOneAdapter: only its sessions are asked, and the caller is told which of
// them have not answered.
func TestRescanOfOneAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, nil)
		defer bd.stop()
		s.addLUN(2, newMedium(), naa(2))
		r, err := bd.m.StartRescan("vmhba1")
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Sessions(); n != 2 {
			t.Errorf("%d sessions were asked, want 2", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w := r.Waiting(); len(w) != 0 {
			t.Errorf("%v have not answered", w)
		}
		adapters := map[string]int{}
		for _, p := range bd.m.Paths() {
			if p.LUN == 2 {
				adapters[p.Adapter]++
			}
		}
		if adapters["vmhba1"] != 2 || adapters["vmhba0"] != 0 {
			t.Errorf("the new LUN has paths %v, want 2 over vmhba1 only", adapters)
		}
		if _, err := bd.m.StartRescan("vmhba9"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an adapter that is not there: %v", err)
		}
	})
}

// TestRescanDoesNotWaitForALostSession: one that is down is asked when it is up again.
func TestRescanDoesNotWaitForALostSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.mute("10.0.0.1:3260")
		r, err := bd.m.StartRescan("")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if w := r.Waiting(); r.Sessions() != 4 || len(w) != 2 {
			t.Errorf("%d sessions were asked, %v wait; want 4, and those of the silent portal", r.Sessions(), w)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if w := r.Waiting(); len(w) != 0 {
			t.Errorf("%v still wait though their sessions are lost", w)
		}
		again, err := bd.m.StartRescan("")
		if err != nil || again.Sessions() != 2 {
			t.Errorf("%v; %d sessions were asked, want the 2 that are left", err, again.Sessions())
		}
	})
}
