// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

var lossWords = map[string]backends.LossClass{
	"reset": backends.LossReset, "silent": backends.LossSilent, "local": backends.LossLocal, "connect": backends.LossConnect,
}

// nexusOf reads one line of testdata/cause.txt.
func nexusOf(t *testing.T, line string, zero time.Time) nexusFact {
	t.Helper()
	after := func(s string) time.Time {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return zero.Add(d)
	}
	w := strings.Fields(line)
	group, err := strconv.Atoi(strings.TrimPrefix(w[2], "g"))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	n := nexusFact{adapter: w[0], portal: w[1], target: "iqn.t", group: uint16(group), grouped: true}
	if how, ok := strings.CutPrefix(w[3], "lost="); ok {
		at, class, _ := strings.Cut(how, ",")
		n.lostAt, n.loss = after(at), lossWords[class]
	}
	n.up = w[3] == "up"
	for _, p := range w[4:] {
		device, fault, failed := strings.Cut(p, "=")
		f := pathFact{name: w[0] + ">" + w[1] + ">" + device, device: device, carries: n.up && !failed}
		if failed {
			f.faultAt = after(fault)
		}
		n.paths = append(n.paths, f)
	}
	return n
}

// TestPA8Cause holds deduce against testdata/cause.txt, which -update rewrites.
func TestPA8Cause(t *testing.T) {
	text, err := os.ReadFile("testdata/cause.txt")
	if err != nil {
		t.Fatal(err)
	}
	zero := time.Unix(1, 0)
	var out strings.Builder
	var list []nexusFact
	answers, stories := false, 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			fmt.Fprintln(&out, line)
			for _, i := range deduce(list) {
				fmt.Fprintf(&out, "%v (%s)\n", &i, strings.Join(i.paths, " "))
			}
			list, answers = nil, true
			stories++
			continue
		case answers && line != "" && line[0] != '#' && strings.Contains(line, " lost: "):
			continue // of the last time
		case strings.HasPrefix(line, "vmhba"):
			list = append(list, nexusOf(t, line, zero))
		}
		answers = answers && line != ""
		fmt.Fprintln(&out, line)
	}
	if stories < 15 {
		t.Errorf("%d stories", stories)
	}
	golden(t, "cause.txt", out.String())
}

func TestCauseNames(t *testing.T) {
	for c := range causes {
		if s := Cause(c).String(); s == "" || strings.Contains(s, "(") {
			t.Errorf("cause %d: %q", c, s)
		}
	}
	if s := Cause(causes).String(); s != "cause(5)" {
		t.Errorf("got %q", s)
	}
}

// tell gives what was said of causes, and forgets it.
func (bd *bed) tell() string {
	synctest.Wait()
	bd.events.mu.Lock()
	defer bd.events.mu.Unlock()
	var b strings.Builder
	var rest []Event
	for _, e := range bd.events.list {
		if e.Kind == ComponentLost || e.Kind == ComponentBack {
			fmt.Fprintf(&b, "%v: %s; ", e.Kind, e.Reason)
		} else {
			rest = append(rest, e)
		}
	}
	bd.events.list = rest
	return strings.TrimSuffix(b.String(), "; ")
}

// PA-8: what broke is told once, within 250 ms, when it is back too; and the list of
// paths shows it meanwhile.
func TestPA8Incidents(t *testing.T) {
	const quarter = 250 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		check := func(what, want string) {
			t.Helper()
			if got := bd.tell(); got != want {
				t.Errorf("%s: told %q, want %q", what, got, want)
			}
		}
		lose := func(adapter, portal string, class backends.LossClass) {
			bd.net.with(func() {
				for _, n := range bd.net.nexuses {
					if p, a := n.way(); (adapter == "" || a == adapter) && (portal == "" || p.name == portal) {
						bd.net.portals[p.name].down[a] = true
						n.lose(class)
					}
				}
			})
			time.Sleep(quarter)
		}
		mend := func() {
			bd.net.with(func() {
				for _, p := range bd.net.portals {
					clear(p.down)
				}
			})
			time.Sleep(2 * time.Second)
		}
		time.Sleep(time.Second)
		check("healthy", "")

		lose("", "10.0.0.1:3260", backends.LossReset)
		check("portal", "component-lost: portal 10.0.0.1:3260 lost: 2 paths")
		if p := bd.m.Paths()[0]; p.Cause != "portal 10.0.0.1:3260" || !strings.HasPrefix(p.Reason, "portal 10.0.0.1:3260: ") {
			t.Errorf("shown: %q, %q", p.Cause, p.Reason)
		}
		time.Sleep(time.Minute)
		check("once", "")
		mend()
		check("portal", "component-back: portal 10.0.0.1:3260 back: 2 of 2 paths")
		if p := bd.m.Paths()[0]; p.Cause != "" {
			t.Errorf("back: %q", p.Cause)
		}

		lose("vmhba1", "", backends.LossReset)
		check("adapter", "component-lost: adapter vmhba1 lost: 2 paths")
		mend()
		check("adapter", "component-back: adapter vmhba1 back: 2 of 2 paths")

		lose("vmhba1", "10.0.0.1:3260", backends.LossReset)
		check("path", "")
		lose("vmhba0", "10.0.0.1:3260", backends.LossReset)
		check("the portal after all", "component-lost: portal 10.0.0.1:3260 lost: 2 paths")
		lose("", "10.0.0.2:3260", backends.LossReset)
		check("the whole of it", "component-lost: storage processor "+iqn+" group 1 lost: 4 paths")
		mend()
		check("all", "component-back: storage processor "+iqn+" group 1 back: 4 of 4 paths")

		gone := sense(2, 4, 3)
		bd.net.with(func() {
			l.answer = func(*backends.Request) (backends.Result, bool) { return gone, true }
			l.unready = &gone
			l.unread = func(uint64) (backends.Result, bool) { return gone, true }
		})
		time.Sleep(21 * time.Second) // the checker finds it
		check("LUN", "component-lost: LUN vmhba0:0:1 lost: 4 paths")
		bd.net.with(func() { l.answer, l.unready, l.unread = nil, nil, nil })
		time.Sleep(10 * time.Second)
		check("LUN", "component-back: LUN vmhba0:0:1 back: 4 of 4 paths")
	})
}

// A path that was taken away by hand was not lost, and neither is anything at the end.
func TestPA8NoIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		for _, p := range bd.m.Paths()[:2] {
			if err := bd.m.SetPathEnabled(p.Name, false); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range bd.m.Paths()[2:] {
			if err := bd.m.FailPath(p.Name, true); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		bd.stop()
		if got := bd.tell(); got != "" {
			t.Errorf("told %q", got)
		}
	})
}
