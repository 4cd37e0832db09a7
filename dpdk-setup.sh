#!/usr/bin/env bash
# dpdk-setup.sh - prepare a Debian 12 host for Portier: packages, huge pages, NIC drivers.
# Changes nothing without a verb, prints each change that it makes, and may be run again.
set -euo pipefail

readonly PROG=${0##*/}
readonly DEFAULT_PAGES=512 # of 2 MiB: 1 GiB a node

# What the build needs, then what the demo and the tests run.
readonly PACKAGES=(
	gcc clang meson ninja-build pkg-config git ca-certificates
	libdpdk-dev libipsec-mb-dev libssl-dev libsodium-dev libb2-dev libconfig-dev libnuma-dev
	libevent-dev libjansson-dev libsqlite3-dev libmicrohttpd-dev libcmocka-dev
	cmake python3 python3-prometheus-client clang-format shellcheck lua5.4
	wireguard-go wireguard-tools iproute2 iputils-ping ethtool curl natpmpc kmod procps
	util-linux iperf3 traceroute bind9-dnsutils dnsmasq-base coturn man-db bsdextrautils tmux
	valgrind systemd bochs bochs-term
)

# One program out of a package whose service is not wanted: it is taken out, not installed.
readonly PROMTOOL=/usr/local/lib/portier/bin/promtool PROMTOOL_PACKAGE=prometheus

usage()
{
	cat <<USAGE
usage: $PROG deps                     install the packages that are missing (Debian, root), and
                                           promtool as $PROMTOOL
       $PROG hugepages [N]            N huge pages of 2 MiB per NUMA node (default $DEFAULT_PAGES;
                                           0 gives them back), and hugetlbfs mounted
       $PROG bind [--force] [--unsafe-no-iommu] PCI...
                                           give these devices to DPDK (driver vfio-pci)
       $PROG unbind PCI...            give these devices back to the kernel's own driver
       $PROG status                   show packages, huge pages and network devices

PCI is an address such as 0000:03:00.0 or 03:00.0.
bind refuses a device whose interface carries a default route, unless --force; without an IOMMU
it needs --unsafe-no-iommu: the device can then write to any memory of this machine.
Portier runs without huge pages too (eal.huge = false), and on interfaces of the kernel
(net_af_packet, net_tap) without any binding.

exit status: 0 done, 1 something could not be done, 2 wrong usage
USAGE
}

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$PROG" "$*" >&2
	exit 1
}

bad_usage()
{
	printf "%s: %s (see '%s --help')\n" "$PROG" "$*" "$PROG" >&2
	exit 2
}

need_root()
{
	[[ $(id -u) -eq 0 ]] || die "$1 must be run as root"
}

# --- packages ------------------------------------------------------------------------------------

missing_packages()
{
	local p installed

	# ${Provides} is asked for too: pkg-config may be there as pkgconf.
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' 2>/dev/null |
		sed -n 's/^installed //p' | tr ',' '\n' | awk 'NF { print $1 }')
	for p in "${PACKAGES[@]}"; do
		grep -qxF "$p" <<<"$installed" || say "$p"
	done
}

has_promtool()
{
	[[ -x $PROMTOOL ]] || command -v promtool >/dev/null
}

take_promtool()
{
	local dir

	dir=$(mktemp -d)
	chmod 0755 "$dir" # apt-get leaves root for the download
	if ! (cd "$dir" && apt-get -qq download $PROMTOOL_PACKAGE 2>/dev/null &&
		dpkg-deb --extract ./*.deb out &&
		install -D -m 0755 out/usr/bin/promtool "$PROMTOOL"); then
		rm -rf "$dir"
		die "promtool could not be taken out of the package $PROMTOOL_PACKAGE"
	fi
	rm -rf "$dir"
	say "promtool: $PROMTOOL"
}

do_deps()
{
	local missing

	[[ $# -eq 0 ]] || bad_usage "deps takes no argument, not '$1'"
	command -v dpkg-query >/dev/null || die "deps knows Debian only; install: ${PACKAGES[*]}"
	mapfile -t missing < <(missing_packages)
	if [[ ${#missing[@]} -eq 0 ]]; then
		say "packages: all ${#PACKAGES[@]} are installed"
	fi
	if [[ ${#missing[@]} -eq 0 ]] && has_promtool; then
		return
	fi
	need_root deps
	apt-get -qq update || die "apt-get update failed"
	if [[ ${#missing[@]} -gt 0 ]]; then
		say "packages: installing ${missing[*]}"
		DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
			"${missing[@]}" >/dev/null || die "apt-get could not install: ${missing[*]}"
		say "packages: installed ${#missing[@]}"
	fi
	has_promtool || take_promtool
}

# --- huge pages ----------------------------------------------------------------------------------

huge_files()
{
	local f found=0

	for f in /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages; do
		[[ -e $f ]] || continue
		say "$f"
		found=1
	done
	# A kernel without NUMA has one pool only.
	f=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
	if [[ $found -eq 0 && -e $f ]]; then
		say "$f"
	fi
}

node_of()
{
	if [[ $1 =~ /node/(node[0-9]+)/ ]]; then
		say "${BASH_REMATCH[1]}"
	else
		say "all nodes"
	fi
}

huge_mount()
{
	awk '$3 == "hugetlbfs" { print $2; exit }' /proc/mounts
}

do_hugepages()
{
	local n=${1:-$DEFAULT_PAGES} f had got files short=0

	[[ $# -le 1 ]] || bad_usage "hugepages takes one number"
	[[ $n =~ ^(0|[1-9][0-9]{0,6})$ ]] || bad_usage "'$n' is no number of pages (0 to 9999999)"
	need_root hugepages
	mapfile -t files < <(huge_files)
	[[ ${#files[@]} -gt 0 ]] || die "this kernel has no huge pages of 2 MiB"
	for f in "${files[@]}"; do
		had=$(<"$f")
		if [[ $had -eq $n ]]; then
			say "huge pages: $(node_of "$f") has $n already"
			continue
		fi
		printf '%s\n' "$n" >"$f" || die "cannot write $f"
		got=$(<"$f")
		say "huge pages: $(node_of "$f"): $had -> $got"
		if [[ $got -ne $n ]]; then
			say "huge pages: $(node_of "$f"): no memory for more than $got" >&2
			short=1
		fi
	done
	if [[ $n -gt 0 && -z $(huge_mount) ]]; then
		mkdir -p /dev/hugepages
		mount -t hugetlbfs nodev /dev/hugepages || die "cannot mount hugetlbfs"
		say "huge pages: mounted hugetlbfs on /dev/hugepages"
	fi
	return $short
}

# --- devices -------------------------------------------------------------------------------------

# The full form of a PCI address that exists on this machine.
pci_address()
{
	local a=${1,,}

	if [[ $a =~ ^[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$ ]]; then
		a=0000:$a
	fi
	[[ $a =~ ^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$ ]] ||
		bad_usage "'$1' is not a PCI address such as 0000:03:00.0"
	[[ -e /sys/bus/pci/devices/$a ]] || die "there is no PCI device $a"
	say "$a"
}

pci_driver()
{
	local link=/sys/bus/pci/devices/$1/driver

	if [[ -L $link ]]; then
		basename "$(readlink "$link")"
	fi
}

# Interfaces of a PCI device; those of virtio hang one level lower.
pci_interfaces()
{
	local d

	for d in "/sys/bus/pci/devices/$1"/net/* "/sys/bus/pci/devices/$1"/virtio*/net/*; do
		if [[ -e $d ]]; then
			basename "$d"
		fi
	done
}

# An interface and all that stand on it: bridges, bonds, VLANs.
interface_and_uppers()
{
	local u

	say "$1"
	for u in "/sys/class/net/$1"/upper_*; do
		if [[ -e $u || -L $u ]]; then
			interface_and_uppers "${u##*/upper_}"
		fi
	done
}

default_route_interfaces()
{
	{
		ip -4 -o route show table all default
		ip -6 -o route show table all default
	} 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u
}

# The interface, among those that stand on PCI device $1, that carries a default route.
carries_default_route()
{
	local i defaults

	defaults=$(default_route_interfaces)
	for i in $(pci_interfaces "$1"); do
		interface_and_uppers "$i" | grep -xF -m1 -f <(say "$defaults") || true
	done | head -n1
}

has_iommu()
{
	compgen -G '/sys/kernel/iommu_groups/*' >/dev/null
}

load_vfio()
{
	local knob=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode

	if [[ ! -d /sys/bus/pci/drivers/vfio-pci ]]; then
		modprobe vfio-pci || die "cannot load the kernel module vfio-pci"
		say "driver: loaded vfio-pci"
	fi
	if ! has_iommu && [[ $(cat "$knob" 2>/dev/null) != Y ]]; then
		printf 'Y\n' >"$knob" || die "this kernel has no vfio mode without IOMMU"
		say "driver: vfio works without IOMMU now"
	fi
}

# Hand the device to driver $2; an empty one means the kernel's own choice.
pci_rebind()
{
	local a=$1 want=$2 had now dev=/sys/bus/pci/devices/$1 i

	had=$(pci_driver "$a")
	printf '%s\n' "$want" >"$dev/driver_override" || die "cannot set the driver of $a"
	if [[ -n $had ]]; then
		printf '%s\n' "$a" >"$dev/driver/unbind" || die "cannot release $a from $had"
	fi
	printf '%s\n' "$a" >/sys/bus/pci/drivers_probe || true
	# A driver may take a moment to settle on its device.
	for ((i = 0; i < 50; i++)); do
		now=$(pci_driver "$a")
		if [[ -n $now && $now != "$had" ]]; then
			break
		fi
		sleep 0.1
	done
	[[ -n $now ]] || die "no driver took $a (${want:-the kernel has none for it})"
	[[ -z $want || $now == "$want" ]] || die "$a has the driver $now, not $want"
	say "device $a: ${had:-no driver} -> $now"
}

do_bind()
{
	local force=0 no_iommu=0 a arg upper list=()

	while [[ ${1-} == --* ]]; do
		case $1 in
		--force) force=1 ;;
		--unsafe-no-iommu) no_iommu=1 ;;
		*) bad_usage "bind does not know the option '$1'" ;;
		esac
		shift
	done
	[[ $# -gt 0 ]] || bad_usage "bind needs at least one PCI address"
	# All are looked at before the first is touched.
	for arg in "$@"; do
		a=$(pci_address "$arg")
		upper=$(carries_default_route "$a")
		if [[ -n $upper && $force -eq 0 ]]; then
			die "$a carries the default route (interface $upper);" \
				"--force binds it all the same"
		fi
		list+=("$a")
	done
	need_root bind
	has_iommu || [[ $no_iommu -eq 1 ]] ||
		die "no IOMMU is in use (kernel option intel_iommu=on or amd_iommu=on);" \
			"--unsafe-no-iommu goes without"
	load_vfio
	for a in "${list[@]}"; do
		if [[ $(pci_driver "$a") == vfio-pci ]]; then
			say "device $a: has vfio-pci already"
		else
			pci_rebind "$a" vfio-pci
		fi
	done
}

do_unbind()
{
	local a arg list=()

	[[ $# -gt 0 ]] || bad_usage "unbind needs at least one PCI address"
	for arg in "$@"; do
		a=$(pci_address "$arg")
		list+=("$a")
	done
	need_root unbind
	for a in "${list[@]}"; do
		case $(pci_driver "$a") in
		vfio-pci | uio_pci_generic | igb_uio | '') pci_rebind "$a" '' ;;
		*) say "device $a: the kernel has it already ($(pci_driver "$a"))" ;;
		esac
	done
}

# --- status --------------------------------------------------------------------------------------

status_devices()
{
	local d a ifs note

	for d in /sys/bus/pci/devices/*; do
		[[ -e $d/class && $(<"$d/class") == 0x02* ]] || continue
		a=${d##*/}
		ifs=$(pci_interfaces "$a" | paste -sd, -)
		note=
		if [[ -n $(carries_default_route "$a") ]]; then
			note='  (carries the default route)'
		fi
		printf 'device %s  driver %-12s interface %s%s\n' \
			"$a" "$(pci_driver "$a")" "${ifs:--}" "$note"
	done
}

do_status()
{
	local f missing where

	[[ $# -eq 0 ]] || bad_usage "status takes no argument, not '$1'"
	if command -v dpkg-query >/dev/null; then
		missing=$(missing_packages | paste -sd' ' -)
		say "packages: ${missing:+missing }${missing:-all are installed}"
	fi
	while read -r f; do
		say "huge pages: $(node_of "$f"): $(<"$f"), free $(<"${f%/*}/free_hugepages")"
	done < <(huge_files)
	where=$(huge_mount)
	say "hugetlbfs: ${where:-not mounted}"
	if has_iommu; then
		say "IOMMU: in use"
	else
		say "IOMMU: none in use"
	fi
	status_devices
}

case ${1-} in
deps | hugepages | bind | unbind | status)
	verb=$1
	shift
	"do_$verb" "$@"
	;;
-h | --help | help) usage ;;
'')
	usage >&2
	exit 2
	;;
*) bad_usage "'$1' is not a verb; there are deps, hugepages, bind, unbind, status" ;;
esac
