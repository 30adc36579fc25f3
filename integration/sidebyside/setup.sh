# SPDX-License-Identifier: Apache-2.0
# Sets the two contenders up in the guest. In front of it: A and B, the portals;
# SELECTED, the sed script that iscsid.conf goes through.
iqn=iqn.2026-11.test:disk
say() { echo "-- $(cut -d ' ' -f 1 /proc/uptime) $*"; }

# again COMMAND: until it succeeds. Daemons need a moment, and a slow machine more.
again() {
	i=0
	until "$@" >/run/again 2>&1; do
		i=$((i + 1))
		if [ $i -ge 200 ]; then
			say "given up: $*"
			cat /run/again /run/pathgate/log
			multipathd show paths
			dmsetup status
			exit 3
		fi
		sleep 0.3
	done
}

mkdir -p /run/udev /etc/iscsi/nodes /etc/iscsi/send_targets /run/lock/iscsi /var/lock /etc/multipath /run/pathgate
for i in 1 2; do
	ip addr add "10.0.${i}0.15/24" dev "eth$i"
	ip link set "eth$i" up
done

say udev
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
/lib/systemd/systemd-udevd --daemon
again udevadm control --ping
again udevadm trigger --action=add --subsystem-match=net --subsystem-match=block
again udevadm settle

say open-iscsi
echo "InitiatorName=iqn.2026-11.test:guest" >/etc/iscsi/initiatorname.iscsi
sed -i "$SELECTED" /etc/iscsi/iscsid.conf
iscsid
logged_in() {
	iscsiadm -m node -T "$iqn" -p "$1" --login || iscsiadm -m session | grep -q "$1"
}
for portal in "$A" "$B"; do
	again iscsiadm -m node -o new -T "$iqn" -p "$portal"
	again logged_in "$portal"
done
again udevadm settle

say multipath
lun1() {
	for d in /sys/block/sd*; do
		case $(readlink -f "$d/device") in
		*:1) disk=/dev/${d##*/} ;;
		esac
	done
	[ -n "$disk" ]
}
both() { [ "$(dmsetup status --target multipath | grep -o ' 8:[0-9]* A ' | wc -l)" = 2 ]; }
again lun1
again multipath -a "$disk"
multipathd
again both
dm=/dev/$(cd /sys/block && echo dm-*)

say pathgate
export PATHGATE_CONTROL=unix:/run/pathgate/control.sock
pathgate serve -c /etc/pathgate.yaml >/run/pathgate/log 2>&1 &
again pathgate vm list
again nbd-client -unix /run/pathgate/nbd.sock -N vm1/root /dev/nbd0

say load
diskload 10.0.2.15:7000 "dm=$dm" pathgate=/dev/nbd0 >/run/load.log 2>&1 &
