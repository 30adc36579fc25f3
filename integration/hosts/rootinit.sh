#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest whose root file system is a disk of the gateway: logs in,
# as an initramfs does, and hands over to what the disk has. iscsid stays in the initramfs:
# it must not need the disk to get the disk back.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/lock/iscsi
. /lib.sh
while read -r m; do
	[ -z "$m" ] || insmod "$m"
done </init.modules
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
. /login.sh
taken() { iscsiadm -m session -P 1 >/run/session && grep -q 'iSCSI Session State: LOGGED_IN' /run/session && grep -q 'iscsid Session State: NO CHANGE' /run/session; }
again taken
again test -b /dev/sda
dmesg -c >/dev/null # what follows is of the disk alone
mkdir -p /newroot
mount -t ext4 /dev/sda /newroot
# The channel to the host, whose word is of this guest. Modules are loaded.
cp /init.conf /newroot/init.conf
: >/newroot/init.modules
exec switch_root /newroot /init
