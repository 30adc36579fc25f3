// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pathgate/integration/nbdclient"
)

func TestPassedNames(t *testing.T) {
	for name, tt := range map[string]struct {
		pid, fds, names string
		want            []string
		err             string
	}{
		"nothing":            {},
		"no process":         {fds: "1"},
		"another process":    {pid: "78", fds: "x"},
		"unnamed":            {pid: "77", fds: "2", want: []string{"unknown", "unknown"}},
		"named":              {pid: "77", fds: "3", names: "a:b:a", want: []string{"a", "b", "a"}},
		"one without a name": {pid: "77", fds: "2", names: "a:", want: []string{"a", "unknown"}},
		"none":               {pid: "77", fds: "0", want: []string{}},
		"process no number":  {pid: "me", fds: "1", err: `LISTEN_PID="me" is no process`},
		"negative":           {pid: "77", fds: "-1", err: `LISTEN_FDS="-1" is not a number from 0 to 1024`},
		"too many":           {pid: "77", fds: "1025", err: `LISTEN_FDS="1025" is not`},
		"no number":          {pid: "77", fds: "3 ", err: `LISTEN_FDS="3 " is not`},
		"overflow":           {pid: "77", fds: "99999999999999999999", err: "is not a number"},
		"too few names":      {pid: "77", fds: "2", names: "a", err: `LISTEN_FDNAMES="a" has 1 names for 2 sockets`},
		"too many names":     {pid: "77", fds: "1", names: "a:b", err: "has 2 names for 1 sockets"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"LISTEN_PID": tt.pid, "LISTEN_FDS": tt.fds, "LISTEN_FDNAMES": tt.names}
			got, err := passedNames(func(k string) string { return env[k] }, 77)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// passedTo is set in the process that TestPassedSockets starts.
const passedTo = "PATHGATE_TEST_PASSED"

// TestPassedSockets passes descriptors to another process, as systemd does.
func TestPassedSockets(t *testing.T) {
	if os.Getenv(passedTo) != "" {
		list, err := PassedSockets()
		if err != nil {
			_, _ = os.Stdout.WriteString("error: " + err.Error() + "\n")
			return
		}
		for _, s := range list {
			_, _ = os.Stdout.WriteString("socket: " + s.Name + " " + s.Listener.Addr().String() + "\n")
		}
		again, err := PassedSockets()
		_, set := os.LookupEnv("LISTEN_FDS")
		if err != nil || len(again) != 0 || set {
			_, _ = os.Stdout.WriteString("still in the environment\n")
		}
		return
	}
	dir := t.TempDir()
	tcp := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer tcp.Close()
	unix := must[net.Listener](t)(net.Listen("unix", filepath.Join(dir, "s")))
	defer unix.Close()
	udp := must[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	defer udp.Close()
	connected := must[net.Conn](t)(net.Dial("unix", filepath.Join(dir, "s")))
	defer connected.Close()
	regular := must[*os.File](t)(os.Create(filepath.Join(dir, "f")))
	defer regular.Close()
	type filer interface{ File() (*os.File, error) }
	for _, tt := range []struct {
		name, fds, names string
		pass             []any
		want             []string
	}{
		{"two", "2", "nbd:iscsi", []any{unix, tcp}, []string{"socket: nbd " + filepath.Join(dir, "s"), "socket: iscsi " + tcp.Addr().String()}},
		{"fewer than there are", "1", "", []any{unix, tcp}, []string{"socket: unknown " + filepath.Join(dir, "s")}},
		{"a file", "1", "a", []any{regular}, []string{"error: sockets of systemd: a, descriptor 3: is not a socket"}},
		{"datagrams", "2", "a:b", []any{tcp, udp}, []string{"error: sockets of systemd: b, descriptor 4: is not a listening stream socket: it needs ListenStream=, and Accept=no"}},
		{"a connection", "1", "a", []any{connected}, []string{"error: sockets of systemd: a, descriptor 3: is not a listening stream socket: it needs ListenStream=, and Accept=no"}},
		{"more than there are", "90", "", []any{tcp}, []string{"error: sockets of systemd: unknown, descriptor "}},
		{"bad", "x", "", []any{tcp}, []string{`error: sockets of systemd: LISTEN_FDS="x" is not a number from 0 to 1024`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestPassedSockets$'`, os.Args[0])
			cmd.Env = append(os.Environ(), passedTo+"=1", "LISTEN_FDS="+tt.fds, "LISTEN_FDNAMES="+tt.names)
			for _, p := range tt.pass {
				f, ok := p.(*os.File)
				if !ok {
					f = must[*os.File](t)(p.(filer).File())
					defer f.Close()
				}
				cmd.ExtraFiles = append(cmd.ExtraFiles, f)
			}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("got %s\nwant %s", out, want)
				}
			}
			if strings.Contains(string(out), "still") || strings.Count(string(out), "socket: ") > len(tt.want) {
				t.Errorf("got %s", out)
			}
		})
	}
}

const activationConfig = `
state: DIR/state
control: unix:DIR/control
nbd: {listen: ["systemd:nbd"]}
vms: [{name: vm1, clients: shared, disks: [{name: root, file: DIR/a, size: 1MiB}]}]
`

// A gateway listens on all sockets of a name, and on no others.
func TestListensOnPassedSockets(t *testing.T) {
	run := func(t *testing.T, text string, names ...string) (g *Gateway, addrs []string, wait func() error) {
		dir := t.TempDir()
		var sockets []Socket
		for _, name := range names {
			at, network := "127.0.0.1:0", "tcp"
			if strings.HasPrefix(name, "all ") {
				at = "0.0.0.0:0"
			}
			if strings.HasPrefix(name, "unix ") {
				at, network = filepath.Join(dir, "s"), "unix"
			}
			ln := must[net.Listener](t)(net.Listen(network, at))
			t.Cleanup(func() { ln.Close() })
			sockets = append(sockets, Socket{name[strings.LastIndexByte(name, ' ')+1:], ln})
			addrs = append(addrs, shown(ln.Addr()))
		}
		g = must[*Gateway](t)(New(mustParse(t, strings.ReplaceAll(text, "DIR", dir)), Options{Sockets: sockets}))
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		t.Cleanup(stop)
		return g, addrs, func() error {
			select {
			case <-g.Ready():
				return nil
			case err := <-ended:
				return err
			}
		}
	}
	t.Run("two of a name", func(t *testing.T) {
		g, addrs, wait := run(t, activationConfig, "nbd", "unix nbd")
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			c, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: a, Export: "vm1/root"})
			if err != nil {
				t.Errorf("%s: %v", a, err)
				continue
			}
			c.Close()
		}
		a := must[[]string](t)(attachedAt(g))
		if !slices.Equal(a, addrs) {
			t.Errorf("attach tells %v, want %v", a, addrs)
		}
	})
	const both = activationConfig + "iscsi: {listen: [\"systemd:iscsi\"]}\n"
	for name, tt := range map[string]struct {
		text    string
		sockets []string
		want    string
	}{
		"none":            {activationConfig, nil, "listen on systemd:nbd: systemd has passed no socket of that name"},
		"another":         {activationConfig, []string{"nbdd"}, "listen on systemd:nbd: systemd has passed no socket of that name"},
		"one more":        {activationConfig, []string{"nbd", "iscsi"}, `systemd has passed a socket called "iscsi" (127.0.0.1:`},
		"other hosts":     {activationConfig, []string{"all nbd"}, "is reachable from other hosts without encryption (tls: required, or plaintext-remote: true"},
		"two for iSCSI":   {both, []string{"nbd", "iscsi", "iscsi"}, "systemd has passed 2 sockets, the first at 127.0.0.1:"},
		"unix for iSCSI":  {both, []string{"nbd", "unix iscsi"}, "an iSCSI listener is one TCP socket"},
		"remote iSCSI":    {both, []string{"nbd", "all iscsi"}, "is reachable from other hosts without encryption (a loopback address"},
		"not for control": {strings.ReplaceAll(activationConfig, "systemd:nbd", "unix:DIR/nbd"), []string{"nbd"}, "no listener of the configuration is systemd:nbd"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, wait := run(t, tt.text, tt.sockets...)
			if err := wait(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func attachedAt(g *Gateway) ([]string, error) {
	a, err := (*adminView)(g).Attachment("vm1")
	return a.NBD, err
}

// A target of files is no service: nothing is passed to it.
func TestFileTargetTakesNoPassedSockets(t *testing.T) {
	for _, text := range []string{"systemd:a", "systemd:a:0"} {
		if l, err := parseFileListen(text); err == nil {
			t.Errorf("%s is taken for %v", text, l)
		}
	}
}
