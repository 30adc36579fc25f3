// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// TestRefusing: the observer is told when requests without a path end at once, and
// when they do so no longer, by each rule; never while they wait.
func TestRefusing(t *testing.T) {
	const one, two = "10.0.0.1:3260", "10.0.0.2:3260"
	down := func(rule AllPathsDown, after time.Duration, want ...backends.PathWait) func(*testing.T) {
		return func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, _ := oneDisk(t, func(c *Config) {
					c.Rule = func(...string) Rule { return Rule{AllPathsDown: rule} }
				})
				defer bd.stop()
				w := &watcher{out: map[*backends.Request]bool{}}
				bd.device().Observe(w)
				bd.net.cut(one)
				bd.net.cut(two)
				time.Sleep(after)
				synctest.Wait()
				told := slices.Clone(w.list())
				bd.net.mend(one)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := w.list(); !slices.Equal(got, want) || len(want) > 0 && len(told) != 1 {
					t.Errorf("told %v, and %v with a path again; want %v", told, got, want)
				}
			})
		}
	}
	t.Run("fail", down(AllPathsDown{Fail: true}, time.Second, backends.WaitNot, 0))
	t.Run("for", down(AllPathsDown{For: 30 * time.Second}, 31*time.Second, backends.PathWait(30*time.Second), 0))
	t.Run("for, in time", down(AllPathsDown{For: 30 * time.Second}, 20*time.Second))
	t.Run("queue", down(AllPathsDown{}, time.Hour))
	t.Run("gone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, s, l := oneDisk(t, nil)
			defer bd.stop()
			w := &watcher{out: map[*backends.Request]bool{}}
			d := bd.device()
			d.Observe(w)
			bd.net.with(func() { delete(s.luns, 1) })
			write(d, 0, 4096, 1).wait()
			if got := w.list(); !slices.Equal(got, []backends.PathWait{backends.WaitForever}) {
				t.Errorf("the LUN has gone: told %v", got)
			}
			late := &watcher{out: map[*backends.Request]bool{}}
			d.Observe(late)
			if got := late.list(); !slices.Equal(got, []backends.PathWait{backends.WaitForever}) {
				t.Errorf("an observer that came later was told %v", got)
			}
			bd.net.with(func() { s.luns[1] = l })
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if got := late.list(); !slices.Equal(got, []backends.PathWait{backends.WaitForever, 0}) {
				t.Errorf("the LUN is back: told %v", got)
			}
		})
	})
}

// list is what the observer was told of refusing.
func (w *watcher) list() []backends.PathWait {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refusing
}
