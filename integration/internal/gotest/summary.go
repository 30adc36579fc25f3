// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// summary counts the tests of a run. Subtests count like tests.
type summary struct {
	passed, failed int
	skipped        []string
	broken         []string // packages that failed without a failed test: build, panic, timeout
}

// summarize reads the events of a run, printing to w each package's line as it
// ends, the output of each test that failed, and the reason of each skip.
func summarize(r io.Reader, w io.Writer) (*summary, error) {
	sum := &summary{}
	output := map[string][]string{} // by package and test, until it ends
	failedIn := map[string]bool{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			fmt.Fprintf(w, "%s\n", sc.Bytes()) // not an event: what go itself printed
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "pass", "fail", "skip":
			if e.Test == "" {
				sum.endPackage(w, e, output[key], failedIn[e.Package])
			} else {
				failedIn[e.Package] = failedIn[e.Package] || e.Action == "fail"
				sum.endTest(w, e, output[key])
			}
			delete(output, key)
		}
	}
	return sum, sc.Err()
}

func (s *summary) endTest(w io.Writer, e event, output []string) {
	switch e.Action {
	case "pass":
		s.passed++
		return
	case "fail":
		s.failed++
	case "skip":
		s.skipped = append(s.skipped, e.Package+" "+e.Test)
	}
	fmt.Fprint(w, strings.Join(output, ""))
}

// endPackage prints the package's own line; a package that failed although no
// test of it did shows all it printed, since that says why.
func (s *summary) endPackage(w io.Writer, e event, output []string, testFailed bool) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(w, "ok   %s %.1fs\n", e.Package, e.Elapsed)
	case "fail":
		if !testFailed {
			s.broken = append(s.broken, e.Package)
			fmt.Fprint(w, strings.Join(output, ""))
		}
		fmt.Fprintf(w, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
	}
}

// verdict is what go test does not check: nothing skipped, something ran.
func (s *summary) verdict(noSkip bool) error {
	var errs []error
	if noSkip && len(s.skipped) > 0 {
		errs = append(errs, fmt.Errorf("%d tests skipped, and none may:\n  %s",
			len(s.skipped), strings.Join(s.skipped, "\n  ")))
	}
	if s.passed+s.failed == 0 {
		errs = append(errs, errors.New("no test ran"))
	}
	return errors.Join(errs...)
}

// print writes the closing line, with broken packages counted as failures.
func (s *summary) print(w io.Writer) {
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed+len(s.broken), len(s.skipped))
}
