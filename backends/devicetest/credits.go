// SPDX-License-Identifier: Apache-2.0

package devicetest

import "pathgate/backends"

// testCredits takes all the credits that there are, and gives them back.
func testCredits(s *suite) {
	origin := &backends.Origin{VM: "vm1", Disk: "root", Connection: "test"}
	const bytes = 4096
	first := s.takeAll(origin, bytes)
	if first < 1 {
		s.errorf("a new connection got %d credits", first)
	}
	if again := s.takeAll(origin, bytes); again != first {
		s.errorf("credits for %d commands came back as %d", first, again)
	}
	if s.dev.Grant(nil) == nil {
		s.errorf("no credits for a connection without origin")
	}
}

// takeAll has one connection take what it gets, sees that another one gets at
// least one credit and that Wait ends when one comes back, and returns all.
func (s *suite) takeAll(o *backends.Origin, bytes int64) int {
	g := s.dev.Grant(o)
	if c, b := g.Outstanding(); c != 0 || b != 0 {
		s.errorf("a new connection has %d commands and %d bytes outstanding", c, b)
	}
	n := 0
	for n < 1<<20 && g.Take(bytes) {
		n++
	}
	if c, b := g.Outstanding(); c != n || b != int64(n)*bytes {
		s.errorf("%d credits taken, outstanding are %d commands and %d bytes", n, c, b)
	}
	if n > g.Commands() {
		s.errorf("%d credits taken of at most %d", n, g.Commands())
	}
	other := s.dev.Grant(o)
	if !other.Take(bytes) {
		s.errorf("a connection with nothing outstanding got no credit")
	} else {
		other.Give(bytes)
	}
	if n == 1<<20 {
		s.errorf("there is no end of credits")
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		if !g.Wait(bytes, nil) {
			s.errorf("Wait gave no credit")
		}
	}()
	g.Give(bytes)
	s.await("Wait, after a credit came back", waited)
	stop := make(chan struct{})
	close(stop)
	if n > 1 && g.Wait(bytes, stop) {
		s.errorf("Wait gave a credit that there was not")
	}
	for range n {
		g.Give(bytes)
	}
	if c, b := g.Outstanding(); c != 0 || b != 0 {
		s.errorf("all given back, outstanding are %d commands and %d bytes", c, b)
	}
	return n
}
