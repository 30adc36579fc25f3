# SPDX-License-Identifier: Apache-2.0
# What the scripts in the guest share.

# again COMMAND: until it succeeds. Daemons need a moment, and a slow machine more.
again() {
	n=0
	until "$@" >/run/again 2>&1; do
		n=$((n + 1))
		if [ $n -ge 400 ]; then
			echo "given up: $*"
			cat /run/again
			exit 3
		fi
		sleep 0.2
	done
}

# disk LUN: the kernel's name of the disk with this number.
disk() {
	for d in /sys/block/sd*; do
		case $(readlink -f "$d/device") in
		*:"$1") echo "${d##*/}" && return ;;
		esac
	done
	return 1
}

# complaints: what the kernel has said since the set-up against disks and file systems.
complaints() {
	dmesg | grep -iE 'error|warning|illegal request|aborted|hostbyte|hung|blocked for more|invalid|unsupported|not supported|bug|call trace|offline'
}
