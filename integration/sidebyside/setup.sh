# SPDX-License-Identifier: Apache-2.0
# Sets the two contenders up in the guest. In front of it: A and B, the portals;
# SELECTED, the sed script that iscsid.conf goes through.
set -e
iqn=iqn.2026-11.test:disk
say() { echo "-- $(cut -d ' ' -f 1 /proc/uptime) $*"; }
for i in 1 2; do
	ip addr add "10.0.${i}0.15/24" dev "eth$i"
	ip link set "eth$i" up
done

say udev
mkdir -p /run/udev /etc/iscsi/nodes /etc/iscsi/send_targets /run/lock/iscsi /var/lock /etc/multipath
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=net --subsystem-match=block
udevadm settle

say open-iscsi
echo "InitiatorName=iqn.2026-11.test:guest" >/etc/iscsi/initiatorname.iscsi
sed -i "$SELECTED" /etc/iscsi/iscsid.conf
iscsid
for portal in "$A" "$B"; do
	iscsiadm -m node -o new -T "$iqn" -p "$portal" >/dev/null
	iscsiadm -m node -T "$iqn" -p "$portal" --login >/dev/null
done
udevadm settle

say multipath
disk=
for d in /sys/block/sd*; do
	case $(readlink -f "$d/device") in
	*:1) disk=/dev/${d##*/} ;;
	esac
done
multipath -a "$disk"
multipathd
i=0
until dmsetup ls --target multipath 2>/dev/null | grep -q '(' && [ "$(dmsetup status --target multipath | grep -o ' 8:[0-9]* A ' | wc -l)" = 2 ]; do
	i=$((i + 1))
	[ $i -lt 150 ] || { multipathd show paths; multipath -ll -v3; exit 3; }
	sleep 0.2
done
dm=/dev/$(cd /sys/block && echo dm-*)

say pathgate
mkdir -p /run/pathgate
pathgate serve -c /etc/pathgate.yaml >/run/pathgate/log 2>&1 &
i=0
until pathgate --control unix:/run/pathgate/control.sock vm list >/dev/null 2>&1 && [ -S /run/pathgate/nbd.sock ]; do
	i=$((i + 1))
	[ $i -lt 150 ] || { cat /run/pathgate/log; exit 3; }
	sleep 0.2
done
i=0
until nbd-client -unix /run/pathgate/nbd.sock -N vm1/root /dev/nbd0 >/run/nbd.log 2>&1; do
	i=$((i + 1))
	[ $i -lt 50 ] || { cat /run/nbd.log /run/pathgate/log; exit 3; }
	sleep 0.5
done

say load
diskload 10.0.2.15:7000 "dm=$dm" pathgate=/dev/nbd0 >/run/load.log 2>&1 &
