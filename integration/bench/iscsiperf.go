// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// iscsiPerf is libiscsi's iscsi-perf. It only reads, for whole seconds, and chooses
// its random blocks, of 512 bytes, itself.
type iscsiPerf struct{}

func (iscsiPerf) name() string          { return "iscsi-perf" }
func (iscsiPerf) can(c *contender) bool { return c.lun != "" }
func (iscsiPerf) does(j Job) bool       { return !j.Write && j.vms() == 1 && j.connections() == 1 }

func (iscsiPerf) prepare(context.Context, *contender, Job) error { return nil }

func (iscsiPerf) run(ctx context.Context, c *contender, j Job, seconds float64, _ uint64) (Sample, error) {
	whole := max(int(math.Round(seconds)), 1)
	args := []string{"-m", strconv.Itoa(j.Depth), "-b", strconv.Itoa(j.BlockBytes / 512), "-t", strconv.Itoa(whole)}
	if j.Random {
		args = append(args, "-r")
	}
	out, err := output(ctx, "iscsi-perf", append(args, c.lun)...)
	if err != nil {
		return Sample{}, err
	}
	perSecond, err := parseIscsiPerf(out)
	return Sample{IOs: perSecond * int64(whole), Seconds: float64(whole)}, err
}

var (
	averageAtEnd = regexp.MustCompile(`\riops average ([0-9]+) \([0-9]+ MB/s\)\s*finished\.`)
	perfFailed   = regexp.MustCompile(`(?i)read.* failed with .*|iscsi_service failed.*`)
)

// parseIscsiPerf gives the I/Os per second over the whole time. It says what fails
// among its figures, and exits with 0 all the same.
func parseIscsiPerf(out string) (int64, error) {
	if m := perfFailed.FindString(out); m != "" {
		return 0, errors.New("iscsi-perf: " + m)
	}
	m := averageAtEnd.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("iscsi-perf printed no average: %q", out)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err == nil && n == 0 {
		err = errors.New("iscsi-perf did no I/O")
	}
	return n, err
}
