// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"
)

// Requests pay for the condition of a failback only while something waits for it.
func TestCalmIsNotWatchedForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, func(c *Config) {
			c.Rule = func(...string) Rule {
				return Rule{Failback: FailbackRule{Mode: FailbackConditional, Quiet: time.Second}}
			}
		})
		defer bd.stop()
		d := bd.device()
		for range 10 {
			mustOK(t, write(d, 0, 4096, 1))
			time.Sleep(10 * time.Second)
			d.mu.Lock()
			watched := d.calm.watched
			d.mu.Unlock()
			if watched {
				t.Fatal("what is in flight is watched, and all paths are up")
			}
		}
	})
}
