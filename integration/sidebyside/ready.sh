# SPDX-License-Identifier: Apache-2.0
# Waits until both contenders use both paths, for three looks on end.
export PATHGATE_CONTROL=unix:/run/pathgate/control.sock
well() {
	[ "$(dmsetup status --target multipath | grep -o ' 8:[0-9]* A ' | wc -l)" = 2 ] || return 1
	[ "$(cat /sys/class/iscsi_session/session*/state | grep -c LOGGED_IN)" = 2 ] || return 1
	[ "$(multipathd show paths raw format '%T %o' | grep -c 'ready running')" -ge 2 ] || return 1
	[ "$(pathgate path list -o json | tr -d ' \n' | grep -o '"health":"up"' | wc -l)" = 4 ] || return 1
}
i=0 good=0
while [ $good -lt 2 ]; do
	good=$((good + 1))
	well || good=0
	i=$((i + 1))
	if [ $i -gt 300 ]; then
		dmsetup status --target multipath
		multipathd show paths
		cat /sys/class/iscsi_session/session*/state
		pathgate path list
		tail -n 20 /run/pathgate/log
		exit 3
	fi
	sleep 0.3
done
