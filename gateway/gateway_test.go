// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net"
	"testing"
)

// TestStartThatFails: a gateway that cannot begin, for an address in use or a target
// that cannot be set up, has sent nothing, and does not count as one that was killed.
func TestStartThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, config := range map[string]string{
		"an address in use": "nbd: {listen: [\"" + l.Addr().String() + "\"]}\n",
		"a secret that is not there": "adapters: [{name: vmhba0, address: 127.0.0.1}]\n" +
			"targets: [{portals: [127.0.0.1], chap: {user: u, secret-file: /nonexistent/secret}}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			g, err := New(mustParse(t, "state: "+dir+"\ncontrol: unix:"+dir+"/c.sock\n"+config), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Run(t.Context()); err == nil {
				t.Fatal("it runs")
			}
			s := openStore(t, dir)
			if _, clean, err := s.Begin(); err != nil || !clean {
				t.Errorf("the store begins clean: %v, %v", clean, err)
			}
		})
	}
}
