#!/bin/sh
# Runs a part of the integration suite in a virtual machine whose kernel has every controller of control groups version 2: Debian's own kernel and
# httpd, by qemu without hardware support. vm.sh FILTER...; root, for the machine's disk is made with debootstrap.
set -eu
cd "$(dirname "$0")/.."
top=$(pwd)
. /etc/os-release
disk=$(mkdir -p "${CARGO_TARGET_DIR:-target}/vm" && cd "${CARGO_TARGET_DIR:-target}/vm" && pwd)
root=$disk/root

inside() { # a command in the machine's directory
    mount -t proc proc "$root/proc"
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive "$@" || status=$?
    umount "$root/proc"
    return "${status:-0}"
}

if [ ! -e "$disk/made" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$root" http://deb.debian.org/debian >"$disk/log"
    # Proxies and the like.
    apt-config dump Acquire >"$root/etc/apt/apt.conf.d/host"
    inside apt-get update >>"$disk/log"
    inside apt-get install -y --no-install-recommends \
        apache2 python3 curl iproute2 procps linux-image-cloud-amd64 initramfs-tools >>"$disk/log" 2>&1
    touch "$disk/made"
fi

# The suite knows its place from when it was compiled.
suite=$(cargo test --locked -p rwsgi --test it --no-run 2>&1 | sed -n 's/.*(\(.*\/it-[0-9a-f]*\))$/\1/p')
[ -n "$suite" ] || { echo "rwsgi: the integration suite does not compile." >&2; exit 1; }
suite=$(realpath "$suite")
rm -rf "${root:?}$top"
mkdir -p "$root$top/.venvs" "$root$(dirname "$suite")"
cp "$suite" "$root$suite"
cp -r Cargo.toml build tests apache-conf docs "$root$top"
cp -rH .venvs/apps "$root$top/.venvs"

cat >"$root/begin" <<END
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /run/lock /run/apache2 /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 groups /sys/fs/cgroup
ip link set lo up
# A group that has members gives its controllers to none below it, so all move into one, as systemd has it.
mkdir /sys/fs/cgroup/init
echo \$\$ >/sys/fs/cgroup/init/cgroup.procs
echo '+cpu +io +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
cd '$top'
export RWSGI_UNDER_TEST=ours RWSGI_MPM=event RWSGI_BUILD_DIR='$top/build'
status=0
for filter in $*; do
    '$suite' "\$filter" --test-threads 1 || status=1
done
echo "machine ends: \$status"
sync
echo o >/proc/sysrq-trigger
sleep 60
END
chmod +x "$root/begin"

image=$disk/image
rm -f "$image"
mke2fs -q -t ext4 -d "$root" "$image" 6G
timeout 3600 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nographic -no-reboot -nic none \
    -kernel "$root"/boot/vmlinuz-* -initrd "$root"/boot/initrd.img-* -append "root=/dev/vda rw console=ttyS0 init=/begin quiet panic=5" \
    -drive "file=$image,if=virtio,format=raw" </dev/null | tee "$disk/output"
rm -f "$image"
grep -q 'machine ends: 0' "$disk/output"
