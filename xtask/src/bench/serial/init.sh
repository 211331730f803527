#!/usr/bin/busybox sh
# What Cairn's boot is measured against: the same programs, started one after the other by a script as PID 1.
# It does what a first boot must do and no more; waits poll at 100 ms. Lines for the measurement go to the kernel log.

export PATH=/usr/libexec/serial:/usr/sbin:/usr/bin
share=/usr/share/serial

say() { echo "<5>serial: $*" >/dev/kmsg; }

say script started
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm /run/log
mount -t devpts -o gid=5,mode=0620,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for controller in cpuset cpu io memory pids; do
    echo +$controller >/sys/fs/cgroup/cgroup.subtree_control
done

# The data disk is new at a first boot.
if ! mount -t ext4 -o nosuid,nodev,noatime,nodelalloc /dev/vdb /var 2>/dev/null; then
    mkfs.ext4 -q -F -b 4096 -m 1 -O metadata_csum -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 /dev/vdb
    mount -t ext4 -o nosuid,nodev,noatime,nodelalloc /dev/vdb /var
fi
mkdir -p /var/lib/kubelet /var/lib/containerd /var/log/pods /var/log/containers /var/opt/cni/bin
ln -sf /run /var/run
say data mounted

mkdir -p /run/cairn/etc /run/cairn/cni/net.d /run/cairn/kubernetes/manifests /run/cairn/containerd/certs.d
hostname serial
echo serial >/run/cairn/etc/hostname
cp $share/config.toml /run/cairn/containerd/
cp $share/kubelet.yaml /run/cairn/kubernetes/
cp $share/10-bridge.conflist /run/cairn/cni/net.d/
cp $share/hello.yaml /run/cairn/kubernetes/manifests/

ip link set lo up
ip link set eth0 up
udhcpc -f -q -n -i eth0 -s $share/udhcpc.sh >/run/log/udhcpc.log 2>&1
say network up

containerd --config /run/cairn/containerd/config.toml >/run/log/containerd.log 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do
    sleep 0.1
done
for image in /usr/share/cairn/images/*.tar; do
    ctr --namespace k8s.io images import $image >>/run/log/import.log 2>&1 || say "$image is not imported"
done
say images imported

kubelet --config /run/cairn/kubernetes/kubelet.yaml >/run/log/kubelet.log 2>&1 &
say kubelet started
while :; do
    wait
    sleep 1
done
