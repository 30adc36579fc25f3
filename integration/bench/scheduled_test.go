// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/integration/nbdclient"
)

func TestMiddleOf(t *testing.T) {
	upTo := func(n int) (list []float64) {
		for i := range n {
			list = append(list, float64(n-i))
		}
		return list
	}
	for _, c := range []struct {
		figures []float64
		want    middle
	}{
		{upTo(1), middle{1, 1, 1}},
		{upTo(5), middle{3, 1, 5}},
		{upTo(6), middle{3.5, 1, 6}},          // 1/64 on either side
		{upTo(9), middle{5, 2, 8}},            // 10/512
		{upTo(15), middle{8, 4, 12}},          // 576/32768
		{upTo(25), middle{13, 8, 18}},         // Conover, table A3: 8th from either end
		{upTo(1000), middle{500.5, 469, 532}}, // (n-1)/2 - 0.98 sqrt(n)
	} {
		if got := middleOf(c.figures); got != c.want {
			t.Errorf("%d figures: got %+v, want %+v", len(c.figures), got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	same := func(f float64) []float64 { return []float64{f, f, f, f, f, f} }
	for _, c := range []struct {
		ratios []float64
		want   string
	}{
		{same(0.98), "0.97: met"},
		{same(0.97), "0.97: met"},
		{same(0.969), "0.97: not met"},
		{[]float64{0.9, 0.98, 0.99, 1}, "0.97: met, within noise"},
		{[]float64{0.9, 0.91, 0.92, 1}, "0.97: not met, within noise"},
		{[]float64{1, 1}, "0.97: not told"},
	} {
		if got := judge(c.ratios, 0.97); got != c.want {
			t.Errorf("%v: got %q, want %q", c.ratios, got, c.want)
		}
	}
}

// TestMarkdownWithBar pins what a group with a bar looks like.
func TestMarkdownWithBar(t *testing.T) {
	on, off := &contender{name: "on"}, &contender{name: "off"}
	g := &group{
		title: "Price", note: "On memory.", contenders: []*contender{on, off}, reference: 1, repeats: 2, bar: 0.95,
		waits:  func(context.Context) (Waits, error) { return Waits{}, nil },
		waited: Waits{Requests: 2000, Queued: 501},
	}
	r := &Report{Options: Options{Rounds: 3}, groups: []*group{g}, rows: []*row{{
		group: g, client: "fio", job: schedulerJobs(8)[1], series: []series{
			{on, []Sample{{9000, 1, 0.09, 0}, {9400, 1, 0.094, 0}, {9100, 1, 0.091, 0}}},
			{off, []Sample{{10000, 1, 0.08, 0}, {10000, 1, 0.08, 0}, {10000, 1, 0.08, 0}}},
		},
	}}}
	text := r.Markdown()
	for _, want := range []string{
		"\nOn memory.\nOf the requests to \"on\" 25.1 % had to wait in the scheduler.\n",
		"| 8 VMs, 4k random write, depth 32 | 9.1 kIOPS | 10.0 kIOPS | 0.910 (0.900-0.940) | 0.95: not met |",
		"| 8 VMs, 4k random write, depth 32 | 10.0 | 8.0 | 1.250 (1.250-1.250) |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	g.bar = 0
	if want, text := "| 0.910 (0.900-0.940) | slower |", r.Markdown(); !strings.Contains(text, want) {
		t.Errorf("without a bar the report lacks %q:\n%s", want, text)
	}
}

// TestServeScheduled reads and writes disks of all devices, and has VMs wait for
// each other where they are meant to.
func TestServeScheduled(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- ServeScheduled(ctx, socket, 8<<20) }()
	c := (&contender{}).vms(socket, deviceOff, schedulerVMs)
	if len(c.uris) != schedulerVMs || !strings.Contains(c.uris[7], "///vm8/off?") {
		t.Errorf("addresses %v", c.uris)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.opens(t.Context()) != nil {
		select {
		case err := <-served:
			t.Fatal(err)
		case <-tick.C:
		}
	}
	for _, device := range []string{deviceOff, deviceOn, deviceTight} {
		var wg sync.WaitGroup
		for i := range schedulerVMs {
			wg.Go(func() { useDisk(t, socket, vmName(i)+"/"+device) })
		}
		wg.Wait()
	}
	all, err := askWaits(t.Context(), socket)
	if err != nil || len(all) != 3 {
		t.Fatalf("got %v, %v", all, err)
	}
	for device, w := range all {
		if w.Requests < 2*schedulerVMs {
			t.Errorf("%s had %d requests", device, w.Requests)
		}
		if (w.Queued > 0) != (device == deviceTight) && device != deviceOn {
			t.Errorf("%s: %d of %d waited", device, w.Queued, w.Requests)
		}
	}
	if _, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket, Export: "vm9/on"}); err == nil {
		t.Error("a disk that is not there could be opened")
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// useDisk writes more at once than the small window takes, and reads it again.
func useDisk(t *testing.T, socket, export string) {
	cl, err := nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket, Export: export})
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	data := []byte(strings.Repeat(fmt.Sprintf("%-16s", export), 1<<16))
	if _, err := cl.WriteAt(data, 0); err != nil {
		t.Errorf("%s: %v", export, err)
	}
	got := make([]byte, len(data))
	if _, err := cl.ReadAt(got, 0); err != nil || string(got) != string(data) {
		t.Errorf("%s: read %q, %v", export, got[:16], err)
	}
	if cl.Size() != 1<<20 {
		t.Errorf("%s has %d bytes", export, cl.Size())
	}
}

func TestPrice(t *testing.T) {
	for device, vms := range map[string]int{deviceOn: 1, deviceTight: schedulerVMs} {
		p, err := measurePrice(device, vms, 2)
		if err != nil || !(p.on > 0 && p.off > 0 && p.on < 1e9 && p.off < 1e9) {
			t.Errorf("%s: got %+v, %v", device, p, err)
		}
	}
}
