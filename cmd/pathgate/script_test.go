// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pathgate/gateway/control"
)

var update = flag.Bool("update", false, "write the expected output in the scripts anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pathgate": main})
}

// TestScripts runs testdata/script/*.txt: the real program against a real control
// server whose gateway is made up (fake_test.go). Commands beside those of
// testscript:
//
//	gateway start NORMAL|EMPTY|HOSTILE    begin to serve at $PATHGATE_CONTROL
//	gateway stop                          end it
//	gateway publish KIND MESSAGE          an event
//	status N COMMAND ...                  exec, which must end with status N
//	waitfor FILE REGEXP                   until a line of the file matches
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			sock := filepath.Join(env.WorkDir, "c.sock")
			env.Setenv("PATHGATE_CONTROL", "unix:"+sock)
			env.Setenv("SOCK", sock)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // with -race each command would end a second late
			f := &fakeGateway{path: sock}
			env.Values[gatewayKey{}] = f
			env.Defer(f.stop)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"gateway": scriptGateway,
			"status":  scriptStatus,
			"waitfor": scriptWaitFor,
		},
	})
}

type gatewayKey struct{}

func scriptGateway(ts *testscript.TestScript, _ bool, args []string) {
	f := ts.Value(gatewayKey{}).(*fakeGateway)
	switch {
	case len(args) == 2 && args[0] == "start":
		ts.Check(f.start(args[1]))
	case len(args) == 1 && args[0] == "stop":
		f.stop()
	case len(args) == 3 && args[0] == "publish":
		f.publish(control.Event{Kind: args[1], Severity: "warning", Path: "vmhba0:0:1", Message: args[2]})
	default:
		ts.Fatalf("usage: gateway start KIND | stop | publish KIND MESSAGE")
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	want, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && want.Match(b) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("no line of %s matches %q:\n%s", args[0], args[1], b)
		}
	}
}
