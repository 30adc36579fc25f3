// SPDX-License-Identifier: Apache-2.0

// Gotest runs `go test -json` with the arguments it was given and prints what
// failed, one line for each package, and a last line with the counts.
//
// Beyond go test's own verdict it fails when a test was skipped, unless
// PATHGATE_NOSKIP is empty, and when no test ran at all. So a missing peer
// cannot pass for success.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		return 2
	}
	sum, readErr := summarize(out, os.Stdout)
	err = errors.Join(readErr, cmd.Wait())
	if err := errors.Join(err, sum.verdict(os.Getenv("PATHGATE_NOSKIP") != "")); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		sum.print(os.Stdout)
		return 1
	}
	sum.print(os.Stdout)
	return 0
}
