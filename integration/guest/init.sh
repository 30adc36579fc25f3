#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a test guest. Its protocol is described in doc.go.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
. /init.conf

stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
say() { printf '\n@@%s %s\n' "$word" "$*" >&3; }

say boot
read -r PATHGATE_BOOT <&3
export PATHGATE_BOOT

while read -r m; do
	[ -z "$m" ] || insmod "$m" || say fail "insmod $m"
done </init.modules
[ ! -d /sys/kernel/config ] || mount -t configfs cfg /sys/kernel/config
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
	ip addr add 10.0.2.15/24 dev eth0
	ip link set eth0 up
	ip route add default via 10.0.2.2
fi

cd /root
sh /init.script <&3 >&3 2>&1 3>&-
say exit $?

# Commands of Exec: a number and the command in base64.
while $interactive && read -r id command <&3 && [ "$id" != quit ]; do
	echo "$command" | base64 -d >/tmp/.command
	say begin "$id"
	sh /tmp/.command </dev/null >&3 2>&1 3>&-
	say end "$id" $?
done
sync
poweroff -f
