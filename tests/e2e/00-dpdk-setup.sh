#!/usr/bin/env bash
# dpdk-setup.sh prints what it changes, changes it once, and will not cut off the machine on which
# it runs.
#
# A made-up /sys (two NUMA nodes, two NICs) in a private mount namespace, with the default route on
# an interface of the first NIC in a private network namespace. A helper plays the kernel's part:
# it moves a device to the driver that driver_override names.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly SETUP=$ROOT/dpdk-setup.sh
readonly UPLINK=0000:03:00.0 SPARE=0000:03:00.1
readonly DEVICES=/sys/bus/pci/devices

# run STATUS ARG...: run the script; its output goes to $out.
run()
{
	local want=$1 got=0

	shift
	out=$("$SETUP" "$@" 2>&1) || got=$?
	[[ $got -eq $want ]] || fail "dpdk-setup.sh $*: exit status $got, not $want: $out"
}

has()
{
	grep -qF -- "$1" <<<"$out" || fail "'$1' is missing in: $out"
}

make_device()
{
	local dev=$DEVICES/$1

	mkdir -p "$dev/net/$2"
	printf '0x020000\n' >"$dev/class"
	: >"$dev/driver_override"
	ln -s ../../drivers/ice "$dev/driver"
}

make_sys()
{
	local node d

	mount -t tmpfs tmpfs /sys
	for node in node0 node1; do
		d=/sys/devices/system/node/$node/hugepages/hugepages-2048kB
		mkdir -p "$d"
		printf '0\n' | tee "$d/nr_hugepages" >"$d/free_hugepages"
	done
	mkdir -p /sys/kernel/iommu_groups/0 /sys/class/net/up0/upper_br0 /sys/class/net/br0
	mkdir -p /sys/bus/pci
	mkfifo /sys/bus/pci/drivers_probe
	for d in ice vfio-pci; do
		mkdir -p "/sys/bus/pci/drivers/$d"
		ln -s ../../drivers_probe "/sys/bus/pci/drivers/$d/unbind"
	done
	make_device $UPLINK up0
	make_device $SPARE spare0
}

# One FIFO for all requests keeps them in order: a bound device is released, a free one is probed.
play_kernel()
{
	local dev driver

	while read -r dev; do
		if [[ -L $DEVICES/$dev/driver ]]; then
			rm "$DEVICES/$dev/driver"
		else
			read -r driver <"$DEVICES/$dev/driver_override" || true
			ln -s "../../drivers/${driver:-ice}" "$DEVICES/$dev/driver"
		fi
	done <>/sys/bus/pci/drivers_probe
}

make_sys
# The default route leaves through a bridge that stands on the first NIC.
ip link add br0 type veth peer name far0
ip addr add 192.0.2.9/24 dev br0
ip link set br0 up
ip link set far0 up
ip route add default via 192.0.2.1
play_kernel &

# Nothing happens without a verb, and nonsense is refused.
run 2
has "usage:"
run 2 destroy
has "'destroy' is not a verb"
run 0 --help
run 2 hugepages many
run 2 bind
run 2 bind 03:00
run 1 bind 0000:77:00.0
has "there is no PCI device 0000:77:00.0"
run 2 bind --hard $SPARE

run 0 deps

run 0 hugepages 16
has "node0: 0 -> 16"
has "node1: 0 -> 16"
has "mounted hugetlbfs"
run 0 hugepages 16
has "node1 has 16 already"
! grep -q mounted <<<"$out" || fail "hugetlbfs was mounted twice"
run 0 hugepages 0
has "node0: 16 -> 0"

run 0 status
has "device $UPLINK  driver ice          interface up0  (carries the default route)"
has "device $SPARE  driver ice          interface spare0"

# The refusal comes before the first device is touched.
run 1 bind 03:00.1 03:00.0
has "$UPLINK carries the default route (interface br0)"
run 0 status
has "device $SPARE  driver ice"

run 0 bind 03:00.1
has "device $SPARE: ice -> vfio-pci"
run 0 bind $SPARE
has "device $SPARE: has vfio-pci already"
run 0 bind --force $UPLINK
has "device $UPLINK: ice -> vfio-pci"
run 0 unbind $UPLINK $SPARE
has "device $UPLINK: vfio-pci -> ice"
has "device $SPARE: vfio-pci -> ice"
run 0 unbind $SPARE
has "the kernel has it already (ice)"

rm -r /sys/kernel/iommu_groups/0
run 1 bind $SPARE
has "no IOMMU"

finish
