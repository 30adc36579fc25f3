# SPDX-License-Identifier: Apache-2.0
# files.sh start|check DEVICE: writes files on a new file system of the device until it is
# checked, and finds each with its checksum.
. /lib.sh

# Each file is written anew, and its sum is kept elsewhere.
if [ "$1" = write ]; then
	i=0
	while [ ! -e /run/files/stop ]; do
		i=$((i + 1)) f=$((i % 20))
		rm -f /run/files/sums/$f
		dd if=/dev/urandom of=/run/files/data bs=64k count=12 2>/dev/null &&
			dd if=/run/files/data of=/mnt/$f bs=64k conv=fsync 2>/dev/null &&
			sha256sum </run/files/data >/run/files/sums/$f || exit 1
		echo $i >/run/files/written
	done
	touch /run/files/ended
	exit
fi

set -e
if [ "$1" = start ]; then
	rm -rf /run/files
	mkdir -p /run/files/sums
	mkfs.ext4 -q -O metadata_csum "$2"
	dumpe2fs -h "$2" 2>/dev/null | grep -q '^Checksum type: *crc32c'
	mount -t ext4 "$2" /mnt
	sh /files.sh write </dev/null >/run/files/log 2>&1 &
	exit
fi
enough() { [ "$(cat /run/files/written || echo 0)" -ge 6 ]; }
again enough
touch /run/files/stop
again test -e /run/files/ended
sync
echo 3 >/proc/sys/vm/drop_caches
for f in /run/files/sums/*; do
	[ "$(sha256sum </mnt/${f##*/})" = "$(cat $f)" ] && echo right || echo wrong: $f
done
umount /mnt
e2fsck -fn "$2"
echo "written $(cat /run/files/written)"
