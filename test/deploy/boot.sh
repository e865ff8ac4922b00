#!/bin/sh
# boot.sh CHECKOUT NODE SCRATCH: a systemd as PID 1 of namespaces of its own, with the machine's /etc, /usr, /var and /opt
# under an overlay, so that whatever is installed there is gone when it ends. SCRATCH/units holds the units that there are
# besides those in /etc/systemd/system; its driver.service runs SCRATCH/driver. To be run by unshare.
set -eu
checkout=$1 node=$2 scratch=$3
if [ "${4:-}" != inside ]; then
  # A control group of its own, as the root of what this systemd sees.
  mkdir "$scratch/cgroup"
  mount -t cgroup2 cgroup2 "$scratch/cgroup"
  group=$scratch/cgroup/$(basename "$(dirname "$scratch")")
  mkdir "$group"
  echo 0 >"$group/cgroup.procs"
  exec unshare --cgroup "$0" "$@" inside
fi
layers=$scratch/layers
mkdir "$layers"
mount -t tmpfs tmpfs "$layers"
for directory in etc usr var opt; do
  mkdir "$layers/$directory" "$layers/$directory.work"
  mount -t overlay overlay \
    -o "lowerdir=/$directory,upperdir=$layers/$directory,workdir=$layers/$directory.work" "/$directory"
done
mkdir -p /opt/strongroom /opt/scratch /opt/acme /usr/local/bin
mount --bind "$checkout" /opt/strongroom
mount --bind "$scratch" /opt/scratch
: >/usr/local/bin/node
mount --bind "$node" /usr/local/bin/node
mount -t tmpfs tmpfs /root
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp
mkdir /run/lock
# libfaketime leaves a semaphore there for each process that is killed, and a user who meets another's under its own process
# number is refused.
mount -t tmpfs tmpfs /dev/shm
chmod 1777 /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
# Debian's own units stay out, but for Apache's.
rm -rf /etc/systemd/system
mkdir -p /etc/systemd/system
cp /lib/systemd/system/apache2.service /opt/scratch/units/
# As a container's manager does: what a unit's set-up mounts, such as its credentials, must reach this systemd.
mount --make-rshared /
export container=strongroom-test SYSTEMD_UNIT_PATH=/etc/systemd/system:/opt/scratch/units
exec /lib/systemd/systemd --system --unit=driver.target --log-target=null --show-status=no
