// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/backends/devicetest"
)

// The contract of backends.Device, over four paths of one target process and
// over two processes.
func TestContract(t *testing.T) {
	for processes := 1; processes <= 2; processes++ {
		t.Run(fmt.Sprint(processes), func(t *testing.T) {
			devicetest.RunIn(t, synctest.Test, func(t *testing.T) (backends.Device, devicetest.Hooks) {
				bd := newBed(t)
				m := newMedium()
				for i := range processes {
					list := portals(2)
					if processes == 2 {
						list = list[i : i+1]
					}
					l := bd.net.server(iqn+string(rune('0'+i)), list...).addLUN(1, m, naa(1))
					l.fua = processes == 1
					l.delay = slow(time.Millisecond)
				}
				bd.start(func(c *Config) {
					c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
				})
				t.Cleanup(bd.stop)
				both := func(f func(string)) func() {
					return func() {
						for _, p := range portals(2) {
							f(p)
						}
						synctest.Wait()
					}
				}
				return bd.device(), devicetest.Hooks{Cut: both(bd.net.cut), Heal: both(bd.net.mend), Patience: time.Minute}
			})
		})
	}
}
