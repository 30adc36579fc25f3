// SPDX-License-Identifier: Apache-2.0

package sidebyside

import "strings"

// Profile is how open-iscsi and multipath-tools are configured.
type Profile struct {
	Name string
	// Text is what the table's reader is told of it.
	Text string
	// ISCSI are keys of iscsid.conf with their values; what is not named is as Debian
	// ships it.
	ISCSI [][2]string
	// Multipath is the file multipath.conf; empty: none, as Debian ships it.
	Multipath string
	// Rounds is how many cuts of each kind a table has.
	Rounds int
	// Spread: both paths carry I/O. Without it one path does, and cuts are of that one.
	Spread bool
}

// Profiles are those that are compared.
func Profiles() []Profile {
	return []Profile{
		{
			Name:   "default",
			Text:   "as Debian ships it: NOP 5 s + 5 s, replacement_timeout 120 s, no multipath.conf",
			Rounds: 3,
		},
		{
			Name: "tuned",
			Text: "as arrays' vendors advise: NOP 5 s + 5 s, replacement_timeout 5 s, round-robin over both paths",
			ISCSI: [][2]string{
				{"node.session.timeo.replacement_timeout", "5"},
				{"node.conn[0].timeo.noop_out_interval", "5"},
				{"node.conn[0].timeo.noop_out_timeout", "5"},
			},
			Multipath: conf("round-robin 0", "5"),
			Rounds:    6,
			Spread:    true,
		},
		{
			Name: "shortest",
			Text: "as short as it goes: NOP 1 s + 1 s, replacement_timeout 0, service-time over both paths",
			ISCSI: [][2]string{
				{"node.session.timeo.replacement_timeout", "0"},
				{"node.conn[0].timeo.noop_out_interval", "1"},
				{"node.conn[0].timeo.noop_out_timeout", "1"},
			},
			Multipath: conf("service-time 0", "0"),
			Rounds:    12,
			Spread:    true,
		},
	}
}

// conf is a multipath.conf; fastFail is in seconds, and becomes the sessions'
// replacement timeout.
func conf(selector, fastFail string) string {
	return `defaults {
	path_grouping_policy multibus
	path_selector "` + selector + `"
	path_checker tur
	failback immediate
	no_path_retry 30
	polling_interval 2
	max_polling_interval 2
	fast_io_fail_tmo ` + fastFail + `
}
`
}

// sed is the script that makes the profile's iscsid.conf of the one that is shipped.
func (p Profile) sed() string {
	var b strings.Builder
	for _, kv := range p.ISCSI {
		key := strings.NewReplacer("[", `\[`, "]", `\]`, ".", `\.`).Replace(kv[0])
		b.WriteString("s/^" + key + " = .*/" + kv[0] + " = " + kv[1] + "/\n")
	}
	return b.String()
}
