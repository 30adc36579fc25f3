// SPDX-License-Identifier: Apache-2.0

package control

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"time"
)

// APIVersion is the first part of every path of the API.
const APIVersion = "v1"

// Version tells what runs.
type Version struct {
	Version  string    `json:"version"`            // "v1.2.3" or "devel"
	Revision string    `json:"revision,omitempty"` // of the version control system
	Modified bool      `json:"modified"`           // built from changed files
	Time     time.Time `json:"revision_time,omitzero"`
	Go       string    `json:"go"`
	Platform string    `json:"platform"` // "linux/amd64"
	// API, Run, PID and Started are those of a running gateway. Run differs from
	// run to run; API, Run and PID are filled in by the Server.
	API     string    `json:"api,omitempty"`
	Run     string    `json:"run,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
}

// BuildVersion gives the version of this program, from what the Go command has
// written into it.
func BuildVersion() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildVersion(info)
}

func buildVersion(info *debug.BuildInfo) Version {
	v := Version{
		Version:  cmp.Or(info.Main.Version, "devel"),
		Go:       cmp.Or(info.GoVersion, runtime.Version()),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if v.Version == "(devel)" {
		v.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		case "vcs.time":
			v.Time, _ = time.Parse(time.RFC3339, s.Value) // a zero time is left out
		}
	}
	return v
}

// String is the line that people are shown.
func (v Version) String() string {
	s := "pathgate " + v.Version
	if v.Revision != "" {
		s += " " + v.Revision[:min(len(v.Revision), 12)]
		if v.Modified {
			s += " with changes"
		}
	}
	return s + " (" + v.Go + ", " + v.Platform + ")"
}
