# SPDX-License-Identifier: Apache-2.0
# What the scripts in the guest share.

# again COMMAND: until it succeeds. A slow machine needs more time than others.
again() {
	n=0
	until "$@" >/run/again 2>&1; do
		n=$((n + 1))
		if [ $n -ge 600 ]; then
			echo "given up: $*"
			cat /run/again
			exit 3
		fi
		sleep 0.1
	done
}

# attach ARGUMENTS: in the background, until the device is there. Its number is in
# /run/attach/pid.
attach() {
	mkdir -p /run/attach
	rm -f /run/attach/*
	(
		pathgate attach "$@" >/run/attach/out 2>>/run/attach/log &
		echo $! >/run/attach/pid
		wait $! || echo $? >/run/attach/status
		touch /run/attach/ended
	) </dev/null >/dev/null 2>&1 &
	attached() { [ -s /run/attach/out ] || [ -e /run/attach/ended ]; }
	again attached
	[ -s /run/attach/out ] || { cat /run/attach/log; exit 4; }
}

# seen NAME: what sysfs tells of a device; see host.sees.
seen() {
	cd /sys/block/$1 || return 1
	q() { cat queue/$1; }
	discard=none
	[ "$(q discard_max_bytes)" = 0 ] || discard=discard
	echo "$(cat size) $(cat ro) $(q logical_block_size)/$(q physical_block_size) $(q write_cache) $(q fua) $discard $(q rotational) $(cat backend)"
	cd /root
}

# files start|check DEVICE: writes files on a new file system of the device until it is
# checked, and finds each with its checksum.
files() {
	case $1 in
	start)
		rm -rf /run/files
		mkdir -p /run/files/sums
		mkfs.ext4 -q -O metadata_csum "$2"
		mount -t ext4 "$2" /mnt
		files write </dev/null >/run/files/log 2>&1 &
		;;
	write)
		i=0
		while [ ! -e /run/files/stop ]; do
			i=$((i + 1)) f=$((i % 20))
			rm -f /run/files/sums/$f
			dd if=/dev/urandom of=/run/files/data bs=64k count=8 2>/dev/null &&
				dd if=/run/files/data of=/mnt/$f bs=64k conv=fsync 2>/dev/null &&
				sha256sum </run/files/data >/run/files/sums/$f || break
			echo $i >/run/files/written
		done
		touch /run/files/ended
		;;
	check)
		enough() { [ "$(cat /run/files/written || echo 0)" -ge 4 ]; }
		again enough
		touch /run/files/stop
		again test -e /run/files/ended
		sync
		echo 3 >/proc/sys/vm/drop_caches
		for f in /run/files/sums/*; do
			[ "$(sha256sum </mnt/${f##*/})" = "$(cat $f)" ] && echo right || echo "wrong: $f"
		done
		umount /mnt
		e2fsck -fn "$2" 2>&1
		echo "written $(cat /run/files/written)"
		;;
	esac
}

# more N: until N more files were written than now.
more() {
	want=$(($(cat /run/files/written 2>/dev/null || echo 0) + $1))
	enough() { [ "$(cat /run/files/written 2>/dev/null || echo 0)" -ge $want ]; }
	again enough
}

# errors: what the kernel has said of requests and file systems that failed.
errors() {
	dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|Buffer I/O|Remounting|JBD2|hung|Call Trace|BUG' || true
}
