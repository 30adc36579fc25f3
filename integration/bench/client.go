// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pathgate/integration/nbdclient"
)

// client is a program that makes load.
type client interface {
	name() string
	// can tells whether the client can reach c.
	can(c *contender) bool
	// does tells whether the client can make such a load.
	does(j Job) bool
	// prepare does what must not be measured.
	prepare(ctx context.Context, c *contender, j Job) error
	// run does about seconds of j on c and gives I/Os and time of its own
	// measurement. seed varies what is random.
	run(ctx context.Context, c *contender, j Job, seconds float64, seed uint64) (Sample, error)
}

// allClients gives every client, in the order of the report.
func allClients() []client {
	return []client{
		fio{},
		&qemuImg{known: map[string]float64{}},
		iscsiPerf{},
		speaker{nbdclient.Structured, "structured replies"},
		speaker{nbdclient.Simple, "simple replies"},
		speaker{nbdclient.Extended, "extended headers"},
	}
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return string(out), nil
}

// fio is fio's nbd engine.
type fio struct{}

func (fio) name() string          { return "fio" }
func (fio) can(c *contender) bool { return len(c.uris) > 0 }
func (fio) does(Job) bool         { return true }

func (fio) prepare(context.Context, *contender, Job) error { return nil }

func (fio) run(ctx context.Context, c *contender, j Job, seconds float64, seed uint64) (Sample, error) {
	mode := "read"
	if j.Write {
		mode = "write"
	}
	if j.Random {
		mode = "rand" + mode
	}
	args := []string{
		"--ioengine=nbd", "--thread", "--rw=" + mode, "--bs=" + strconv.Itoa(j.BlockBytes), "--iodepth=" + strconv.Itoa(j.Depth),
		"--size=" + strconv.Itoa(c.bytes), "--time_based", fmt.Sprintf("--runtime=%dms", int(seconds*1000)),
		"--randseed=" + strconv.FormatUint(seed, 10), "--output-format=json",
	}
	for i, uri := range c.uris[:j.vms()] {
		for range j.connections() {
			args = append(args, "--name="+vmName(i), "--uri="+uri)
		}
	}
	out, err := output(ctx, "fio", args...)
	if err != nil {
		return Sample{}, err
	}
	return parseFio(out, j)
}

// parseFio reads fio's JSON, and sums up what its jobs did at the same time. fio
// writes notes in front of it.
func parseFio(out string, j Job) (Sample, error) {
	type side struct {
		TotalIOs int64   `json:"total_ios"`
		Runtime  float64 `json:"runtime"` // ms
	}
	var report struct {
		Jobs []struct {
			Error       int
			Read, Write side
		}
	}
	at := strings.IndexByte(out, '{')
	if at < 0 {
		return Sample{}, fmt.Errorf("fio printed no JSON: %q", out)
	}
	if err := json.Unmarshal([]byte(out[at:]), &report); err != nil {
		return Sample{}, fmt.Errorf("fio: %w", err)
	}
	if n := j.vms() * j.connections(); len(report.Jobs) != n {
		return Sample{}, fmt.Errorf("fio reported %d jobs, want %d", len(report.Jobs), n)
	}
	var sum Sample
	for _, job := range report.Jobs {
		s := job.Read
		if j.Write {
			s = job.Write
		}
		if job.Error != 0 || s.TotalIOs == 0 || s.Runtime == 0 {
			return Sample{}, fmt.Errorf("fio: error %d, %d I/Os in %g ms", job.Error, s.TotalIOs, s.Runtime)
		}
		sum.IOs += s.TotalIOs
		sum.Seconds = max(sum.Seconds, s.Runtime/1e3)
	}
	return sum, nil
}

// qemuImg is qemu-img bench. It does a count of I/Os, which it learns.
type qemuImg struct {
	known map[string]float64 // I/Os per second by contender and job
}

func (*qemuImg) name() string          { return "qemu-img bench" }
func (*qemuImg) can(c *contender) bool { return c.image != "" }
func (*qemuImg) does(j Job) bool       { return j.vms() == 1 && j.connections() == 1 }

// A stride of an odd number of blocks visits every block of the disk before it
// comes back, far from the last one.
const strideBlocks = 8191

// prepare finds out how fast c is, so that run can choose a count.
func (q *qemuImg) prepare(ctx context.Context, c *contender, j Job) error {
	if q.known[c.name+"/"+j.Name] > 0 {
		return nil
	}
	s, err := q.count(ctx, c, j, int64(min(200*j.Depth, 4000)))
	if err == nil {
		q.known[c.name+"/"+j.Name] = s.PerSecond()
	}
	return err
}

func (q *qemuImg) run(ctx context.Context, c *contender, j Job, seconds float64, _ uint64) (Sample, error) {
	key := c.name + "/" + j.Name
	s, err := q.count(ctx, c, j, max(int64(q.known[key]*seconds), int64(j.Depth)))
	if err == nil {
		q.known[key] = s.PerSecond()
	}
	return s, err
}

func (*qemuImg) count(ctx context.Context, c *contender, j Job, n int64) (Sample, error) {
	step := j.BlockBytes
	if j.Random {
		step *= strideBlocks
	}
	args := []string{
		"bench", "-f", "raw", "-t", "none", "-c", strconv.FormatInt(n, 10), "-d", strconv.Itoa(j.Depth),
		"-s", strconv.Itoa(j.BlockBytes), "-S", strconv.Itoa(step),
	}
	if j.Write { // its pattern is 0 otherwise, and then those who read get holes
		args = append(args, "-w", "--pattern=85")
	}
	out, err := output(ctx, "qemu-img", append(args, c.image)...)
	if err != nil {
		return Sample{}, err
	}
	seconds, err := parseQemuImg(out)
	return Sample{IOs: n, Seconds: seconds}, err
}

var completedIn = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

func parseQemuImg(out string) (float64, error) {
	m := completedIn.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("qemu-img bench printed no time: %q", out)
	}
	s, err := strconv.ParseFloat(m[1], 64)
	if err == nil && s <= 0 {
		err = errors.New("qemu-img bench took no time")
	}
	return s, err
}

// fill writes all disks of c once, so that no contender has blocks that were
// never written.
func fill(ctx context.Context, c *contender) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, uri := range c.uris {
		if _, err := output(ctx, "fio", "--name=fill", "--ioengine=nbd", "--uri="+uri, "--rw=write", "--bs=1m",
			"--iodepth=4", "--size="+strconv.Itoa(c.bytes), "--output-format=json"); err != nil {
			return err
		}
	}
	return nil
}
