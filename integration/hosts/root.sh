# SPDX-License-Identifier: Apache-2.0
# Runs from the disk, at every boot.
. /lib.sh
grep -q ' / ext4 ' /proc/mounts || exit 4
# fill NAME: a file of 1 MiB, and its sum.
fill() { dd if=/dev/urandom of="/files/$1" bs=64k count=16 conv=fsync 2>/dev/null && (cd /files && sha256sum "$1" >>sums); }
mkdir -p /files
if [ "$PATHGATE_BOOT" = 1 ]; then
	fill early || exit 5
	echo "ready"
	read -r word # the gateway is killed then, and started later
	fill "$word" || exit 6
	fill late || exit 7
	sync
	mount -o remount,ro / || exit 8
	reboot -f
fi
echo 3 >/proc/sys/vm/drop_caches
cd /files && sha256sum -c sums || exit 9
echo "sums $(wc -l <sums)"
complaints | grep -v "conn error"
mount -o remount,ro / || exit 10
