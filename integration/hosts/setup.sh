# SPDX-License-Identifier: Apache-2.0
# Makes a Linux host of the guest. In front of it: NAME, the initiator's name, and CARDS,
# the number of network cards beside the first.
. /lib.sh

# The host's loopback, by the first card.
ip addr del 127.0.0.1/8 dev lo
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
ip route add 127.0.0.0/8 via 10.0.2.2 dev eth0
i=1
while [ $i -le "$CARDS" ]; do
	ip addr add "10.0.${i}0.15/24" dev "eth$i"
	ip link set "eth$i" up
	i=$((i + 1))
done

mkdir -p /run/udev /etc/iscsi/nodes /etc/iscsi/send_targets /run/lock/iscsi /var/lock /etc/multipath
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
/lib/systemd/systemd-udevd --daemon
again udevadm control --ping
again udevadm trigger --action=add --subsystem-match=net --subsystem-match=block
again udevadm settle
echo "InitiatorName=$NAME" >/etc/iscsi/initiatorname.iscsi
# A busy machine is no lost connection.
cat >>/etc/iscsi/iscsid.conf <<END
node.conn[0].timeo.noop_out_interval = 10
node.conn[0].timeo.noop_out_timeout = 60
END
iscsid
again iscsiadm -m iface
dmesg -c >/run/boot.log # what follows is of our disks alone
