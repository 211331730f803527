#!/usr/bin/busybox sh
# Takes over a lease (udhcpc's script interface). A network without a router or name server is fine.

[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -n "$router" ] && ip route add default via "$router"
printf '127.0.0.1 localhost\n%s serial\n' "$ip" >/run/cairn/etc/hosts
: >/run/cairn/etc/resolv.conf
[ -n "$dns" ] && echo "nameserver $dns" >/run/cairn/etc/resolv.conf
exit 0
