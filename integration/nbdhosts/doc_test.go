// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"os"
	"strings"
	"testing"
)

// documented gives the blocks of commands of docs/nbd.md, "Linux hosts", with other words
// in place of its examples, each of which has to be there.
func documented(t *testing.T, words ...string) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/nbd.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## Linux hosts\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !ok {
		t.Fatal("there is no such section")
	}
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Errorf("no %q", words[i])
		}
	}
	var blocks []string
	for _, part := range strings.Split(text, "\n```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```\n")
		blocks = append(blocks, strings.NewReplacer(words...).Replace(block))
	}
	return blocks
}

// TestLongDocumented: the commands of the page do what it says.
func TestLongDocumented(t *testing.T) {
	b, files := newSecureBed(t, "optional")
	h := bootWith(t, files)
	server, port := b.server(t)
	blocks := documented(t,
		"modprobe nbd", "insmod /lib/modules/kernel/drivers/block/nbd.ko",
		"pathgate attach vm1", "attach vm1", // in the background
		"192.0.2.1:10809", server+":"+port, "192.0.2.1 10809", server+" "+port,
		"/etc/pathgate/tls", "/tls",
	)
	if len(blocks) != 5 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	h.run(t, "rmmod nbd\n%s", blocks[0])
	h.run(t, "%s\nfiles start /dev/nbd0\nmore 2", blocks[1])
	b.clients(t, 4)
	h.checkFiles(t, "/dev/nbd0")
	h.run(t, "mount -t ext4 /dev/nbd0 /mnt\n%s\nagain test -e /run/attach/ended", blocks[2])
	b.clients(t, 0)
	h.run(t, "%s", blocks[3])
	b.clients(t, 4)
	demand(t, b.MustCLI(t, "session", "list", "-o", "wide"), " TLS 1.3 ")
	h.run(t, "mount -t ext4 /dev/nbd0 /mnt\nls /mnt/1\n%s\nagain test -e /run/attach/ended", blocks[2])
	b.clients(t, 0)
	make, end, ok := strings.Cut(strings.TrimSpace(blocks[4]), "\n")
	if !ok {
		t.Fatalf("%q", blocks[3])
	}
	h.run(t, "%s", make)
	b.clients(t, 4)
	h.run(t, "mount -t ext4 /dev/nbd0 /mnt\nls /mnt/1\numount /mnt\n%s", end)
	b.clients(t, 0)
}
