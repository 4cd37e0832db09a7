#!/bin/bash
# Become systemd as process 1 of a box: boxed_systemd.sh CGROUP STAGE BOX CONF_DIR. What is under
# STAGE is laid over /etc and /usr, BOX/conf over CONF_DIR; BOX is its /run, and it knows the units
# of BOX/units and no other. To be run in namespaces that are nobody else's.
set -euo pipefail

if [[ -z ${BOXED-} ]]; then
	# A cgroup namespace has its root where the process is that makes it.
	echo 0 >"$1/cgroup.procs"
	BOXED=1 exec unshare --mount --pid --cgroup --ipc --uts --fork --kill-child --mount-proc \
		bash "$0" "$@"
fi

stage=$2 box=$3 conf_dir=$4
mount --make-rprivate /
# Whatever is written there stays here.
for dir in etc usr; do
	mkdir -p "$stage/$dir" "$box/upper/$dir" "$box/work/$dir"
	mount -t overlay overlay /$dir -o \
		"lowerdir=$stage/$dir:/$dir,upperdir=$box/upper/$dir,workdir=$box/work/$dir"
done
for dir in home var/lib; do
	mount -t tmpfs -o mode=0755 tmpfs /$dir
done
mount --bind "$box/conf" "$conf_dir"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$box" /run
# The environment is no business of the service manager.
exec env -i PATH="$PATH" container=box SYSTEMD_UNIT_PATH=/run/units SYSTEMD_GENERATOR_PATH= \
	/lib/systemd/systemd --unit=box.target --log-target=console --show-status=no
