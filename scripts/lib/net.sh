# net.sh - the network of the demo and of the end-to-end tests, and what runs in it. To be sourced.
#
#    client                        gateway                              internet
#  +------------------+ wan0      +-----------+ gwpub           inet0 +--------------------+
#  | 192.0.2.2        |-----------| portier   |-----------------------| 203.0.113.9        |
#  | 2001:db8:1::2    |     gwtun | 192.0.2.1 | 203.0.113.1           | 198.51.100.0/28    |
#  | wg0: 100.64.0.2  |           | 2001:db8:1::1                     |    via 203.0.113.1 |
#  |      fd00::2     |           |           |                       |                    |
#  +------------------+           +-----------+                       +--------------------+
#
# What a test may add: a friend, who is a second peer in a namespace of its own (friend_start); a
# stranger, which is a second address of the Internet host (net_add_stranger); IPv6 on the public
# link (net_add_ipv6); a router behind which there is one more host (net_add_far):
#
#    friend                                       internet                   far
#  +------------------+                         +------------------+ far0  +-------------------+
#  | wg1: 100.64.0.3  |                   inet0 | 203.0.113.9, .66 |-------| 198.18.0.9        |
#  |      fd00::3     |      ------------------ | 2001:db8:f::9    |       | 2001:db8:fa::9    |
#  +------------------+                         | 198.18.0.1       |       +-------------------+
#                                               +------------------+
#
# Three network namespaces, two veth pairs. The gateway's ends have no addresses in the kernel, and
# no ARP or IPv6 either: portier alone speaks there, through net_af_packet. Checksum offloads are
# off at every end, so that what crosses a pair is what a wire would carry.
#
# The caller sets ROOT (the source tree), BUILD (the build directory) and RUN (a directory for keys,
# logs and the socket), and arranges for run_cleanup at its exit.
# shellcheck shell=bash

NET_PREFIX=${NET_PREFIX-}
WG=${WG-wg0} # the client's interface

readonly ENTRY=192.0.2.1 ENTRY6=2001:db8:1::1 GATEWAY_PUBLIC=203.0.113.1
readonly CLIENT=192.0.2.2 CLIENT6=2001:db8:1::2 HOST=203.0.113.9
readonly INNER=100.64.0.2 INNER6=fd00::2 GATEWAY_INNER=100.64.0.1 GATEWAY_INNER6=fd00::1
readonly POOL=198.51.100.0/28
readonly FRIEND_INNER=100.64.0.3 FRIEND_INNER6=fd00::3
readonly STRANGER=203.0.113.66 GATEWAY_PUBLIC6=2001:db8:f::1 HOST6=2001:db8:f::9
readonly FAR=198.18.0.9 FAR6=2001:db8:fa::9 FAR_ROUTER=198.18.0.1 FAR_ROUTER6=2001:db8:fa::1
readonly ROUTED6=2001:db8:2::/48 # prefixes of peers come out of it

# --- cleaning up ---------------------------------------------------------------------------------

CLEANUP=()

# at_exit COMMAND ARG...: the last one registered runs first.
at_exit()
{
	CLEANUP+=("$(printf '%q ' "$@")")
}

run_cleanup()
{
	local i

	for ((i = ${#CLEANUP[@]} - 1; i >= 0; i--)); do
		eval "${CLEANUP[i]}" 2>/dev/null || true
	done
	CLEANUP=()
}

# End a process of ours and wait for it; one that does not listen is killed.
stop_process()
{
	local pid=$1 i

	kill -TERM "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 50; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
}

# --- waiting -------------------------------------------------------------------------------------

# poll_until SECONDS COMMAND ARG...: try until it succeeds; false when the time is over.
poll_until()
{
	local deadline=$((SECONDS + $1 + 1))

	shift
	until "$@" >/dev/null 2>&1; do
		[[ $SECONDS -lt $deadline ]] || return 1
		sleep 0.05
	done
}

# --- namespaces ----------------------------------------------------------------------------------

in_client()
{
	ip netns exec "${NET_PREFIX}client" "$@"
}

in_friend()
{
	ip netns exec "${NET_PREFIX}friend" "$@"
}

in_far()
{
	ip netns exec "${NET_PREFIX}far" "$@"
}

in_gateway()
{
	ip netns exec "${NET_PREFIX}gateway" "$@"
}

in_internet()
{
	ip netns exec "${NET_PREFIX}internet" "$@"
}

# spawn NAMESPACE COMMAND ARG...: run it in the background until our exit; SPAWNED is its process.
spawn()
{
	local ns=$1

	shift
	# No function between: $! must be the command itself, or signals would not reach it.
	ip netns exec "$NET_PREFIX$ns" "$@" &
	SPAWNED=$!
	at_exit stop_process "$SPAWNED"
}

ip_client()
{
	ip -n "${NET_PREFIX}client" "$@"
}

ip_internet()
{
	ip -n "${NET_PREFIX}internet" "$@"
}

ip_far()
{
	ip -n "${NET_PREFIX}far" "$@"
}

net_add_namespace()
{
	# A crashed earlier run may have left one of the same name.
	ip netns del "$NET_PREFIX$1" 2>/dev/null || true
	ip netns add "$NET_PREFIX$1"
	at_exit ip netns del "$NET_PREFIX$1"
	ip -n "$NET_PREFIX$1" link set lo up
}

net_plain_frames()
{
	ip netns exec "$NET_PREFIX$1" ethtool -K "$2" \
		tx off rx off tso off gso off gro off >/dev/null
}

# net_link NAMESPACE INTERFACE GATEWAY-INTERFACE
net_link()
{
	ip link add "$2" netns "$NET_PREFIX$1" type veth peer name "$3" netns "${NET_PREFIX}gateway"
	net_plain_frames "$1" "$2"
	net_plain_frames gateway "$3"
	ip -n "${NET_PREFIX}gateway" link set "$3" arp off
	ip -n "${NET_PREFIX}gateway" link set "$3" up
	ip -n "$NET_PREFIX$1" link set "$2" up
}

net_address_client()
{
	ip_client address add $CLIENT/24 dev wan0
	ip_client address add $CLIENT6/64 dev wan0 nodad
}

net_address_internet()
{
	ip_internet address add $HOST/24 dev inet0
	ip_internet route add $POOL via $GATEWAY_PUBLIC
	# Addresses that nobody on the Internet should have a route to; an attacker has one.
	ip_internet route add 100.64.0.0/24 via $GATEWAY_PUBLIC
	ip_internet route add 192.0.2.0/24 via $GATEWAY_PUBLIC
}

net_add_stranger()
{
	ip_internet address add $STRANGER/24 dev inet0
}

# A kernel says but few ICMP errors a second to one host, unless it is told otherwise.
net_unlimited_errors()
{
	ip netns exec "$NET_PREFIX$1" sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
}

# The caller writes the configuration after this.
net_add_ipv6()
{
	CONF_PUBLIC+=", \"$GATEWAY_PUBLIC6/64\""
	net_address_internet6
}

net_address_internet6()
{
	ip_internet address add $HOST6/64 dev inet0 nodad
	ip_internet route add fd00::/64 via $GATEWAY_PUBLIC6
	ip_internet route add $ROUTED6 via $GATEWAY_PUBLIC6
}

# Likewise. After net_add_ipv6, if at all.
net_add_far()
{
	local ns

	CONF_GATEWAYS="\"$HOST\""
	net_add_namespace far
	ip link add inet1 netns "${NET_PREFIX}internet" type veth \
		peer name far0 netns "${NET_PREFIX}far"
	net_plain_frames internet inet1
	net_plain_frames far far0
	in_internet sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0
	ip_internet link set inet1 up
	ip_internet address add $FAR_ROUTER/24 dev inet1
	ip_far link set far0 up
	ip_far address add $FAR/24 dev far0
	ip_far route add default via $FAR_ROUTER
	for ns in client internet far; do
		net_unlimited_errors $ns
	done
	if [[ $CONF_PUBLIC == *$GATEWAY_PUBLIC6* ]]; then
		CONF_GATEWAYS+=", \"$HOST6\""
		in_internet sysctl -qw net.ipv6.conf.all.forwarding=1
		ip_internet address add $FAR_ROUTER6/64 dev inet1 nodad
		ip_far address add $FAR6/64 dev far0 nodad
		ip_far route add default via $FAR_ROUTER6
	fi
}

net_namespaces()
{
	local ns

	for ns in client gateway internet; do
		net_add_namespace $ns
	done
	in_gateway sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
}

net_create()
{
	net_namespaces
	net_link client wan0 gwtun
	net_link internet inet0 gwpub
	net_address_client
	net_address_internet
}

# --- the gateway ---------------------------------------------------------------------------------

# What a test may change before gateway_conf.
CONF_WORKERS=${CONF_WORKERS-2}
CONF_HOME_SHIFT=${CONF_HOME_SHIFT-0}
CONF_QPAIRS=${CONF_QPAIRS-$CONF_WORKERS} # queues of each port
CONF_TIMERS=
CONF_TUNNEL= # more keys of the group tunnel
CONF_LEASES= # more keys of the group leases
CONF_EAL= # more keys of the group eal
CONF_CONTROL= # more keys of the group control
CONF_METRICS= # keys of the group metrics
CONF_NAT=    # more keys of the group nat
CONF_STORE=  # keys of the group store
CONF_HISTORY= # keys of the group history
CONF_PEERS=
CONF_POOL="\"$POOL\""
CONF_PUBLIC="\"$GATEWAY_PUBLIC/24\"" # addresses of the public port
CONF_GATEWAYS=                     # and its next hops
CONF_PUBLIC_MTU=1500
CONF_ENTRY="\"$ENTRY/24\", \"$ENTRY6/64\""
CONF_LOG_LEVEL=info
CONF_UAPI_NAME=${CONF_UAPI_NAME-portier0} # what wg calls the gateway

# A CPU for control and each worker; they share when there are few.
conf_lcores()
{
	local n_cpus i list=0

	n_cpus=$(nproc)
	for ((i = 0; i < CONF_WORKERS; i++)); do
		list+=", $((i % n_cpus))"
	done
	printf '%s' "$list"
}

conf_ports()
{
	local af_packet="qpairs=$CONF_QPAIRS,framecnt=4096"

	cat <<PORTS
ports = (
	{ name = "tun"; device = "net_af_packet0,iface=gwtun,$af_packet"; roles = [ "tunnel" ];
	  addresses = [ $CONF_ENTRY ]; gateways = [ "192.0.2.254" ]; },
	{ name = "pub"; device = "net_af_packet1,iface=gwpub,$af_packet"; roles = [ "public" ];
	  addresses = [ $CONF_PUBLIC ]; gateways = [ $CONF_GATEWAYS ]; mtu = $CONF_PUBLIC_MTU; }
);
PORTS
}

# conf_peer [KEY = VALUE;]...: the client as an entry of CONF_PEERS.
conf_peer()
{
	printf '{ name = "client"; public_key = "%s"; address = "%s,%s"; forwarding = true; %s }' \
		"$(<"$RUN/client.pub")" $INNER $INNER6 "$*"
}

# conf_friend [KEY = VALUE;]...: the friend as another one.
conf_friend()
{
	printf '{ name = "friend"; public_key = "%s"; address = "%s,%s"; forwarding = true; %s }' \
		"$(<"$RUN/friend.pub")" $FRIEND_INNER $FRIEND_INNER6 "$*"
}

# Another client, who never shows up.
conf_absent_peer()
{
	printf '{ name = "absent"; public_key = "%s"; address = "100.64.0.200"; }' \
		"$(wg genkey | wg pubkey)"
}

make_keys()
{
	local who

	for who in gateway client friend; do
		if [[ ! -e $RUN/$who.key ]]; then
			(umask 077 && wg genkey >"$RUN/$who.key")
			wg pubkey <"$RUN/$who.key" >"$RUN/$who.pub"
		fi
	done
}

gateway_conf()
{
	cat >"$RUN/portier.conf" <<CONF
eal = { lcores = [ $(conf_lcores) ]; huge = false; memory_mb = 256; mbufs = 16384;
	$CONF_EAL };
$(conf_ports)
tunnel = { private_key_file = "$RUN/gateway.key"; max_peers = 1000;
	inner_addresses = [ "$GATEWAY_INNER", "$GATEWAY_INNER6" ];
	$CONF_TUNNEL
	timers = { $CONF_TIMERS }; };
public = { pool = [ $CONF_POOL ]; };
nat = { $CONF_NAT };
leases = { $CONF_LEASES };
store = { $CONF_STORE };
history = { $CONF_HISTORY };
control = { socket = "$RUN/control.sock"; log_level = "$CONF_LOG_LEVEL";
	uapi_name = "$CONF_UAPI_NAME"; $CONF_CONTROL };
metrics = { $CONF_METRICS };
testing = { home_shift = $CONF_HOME_SHIFT; };
peers = ( $CONF_PEERS );
CONF
}

ctl()
{
	"$BUILD/app/portierctl/portierctl" -s "$RUN/control.sock" "$@"
}

GATEWAY_PID=

# Without waiting for it.
gateway_spawn()
{
	spawn gateway setsid "$BUILD/app/portier/portier" -c "$RUN/portier.conf" \
		>>"$RUN/gateway.log" 2>&1
	GATEWAY_PID=$SPAWNED
}

gateway_start()
{
	gateway_spawn
	poll_until 20 gateway_is_settled || fail "the gateway did not come up"
	kill -0 "$GATEWAY_PID" 2>/dev/null ||
		fail "the gateway ended at start: $(tail -n 3 "$RUN/gateway.log")"
}

# It answers, or it is gone and there is nothing to wait for.
gateway_is_settled()
{
	ctl health || ! kill -0 "$GATEWAY_PID"
}

# --- the client ----------------------------------------------------------------------------------

CLIENT_ENDPOINT=$ENTRY:51820 # empty: the client can not begin a handshake
CLIENT_MTU=1420
WIREGUARD_PID=

# wireguard_start NAMESPACE INTERFACE INNER INNER6: wireguard-go, configured by wg, with everything
# routed into the tunnel. It speaks to the gateway from the client's namespace, whatever namespace
# the inside of the tunnel is in; WIREGUARD_PID is its process.
wireguard_start()
{
	local link="ip -n $NET_PREFIX$1"

	spawn client env WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error \
		setsid wireguard-go "$2" >>"$RUN/$1.log" 2>&1
	export WIREGUARD_PID=$SPAWNED
	poll_until 10 in_client wg show "$2" || fail "wireguard-go did not come up"
	[[ $1 == client ]] || ip_client link set "$2" netns "$NET_PREFIX$1"
	ip netns exec "$NET_PREFIX$1" wg set "$2" private-key "$RUN/$1.key" \
		peer "$(<"$RUN/gateway.pub")" allowed-ips 0.0.0.0/0,::/0 \
		${CLIENT_ENDPOINT:+endpoint "$CLIENT_ENDPOINT"}
	# No link-local address: nothing speaks through the tunnel of its own accord.
	$link link set "$2" addrgenmode none
	$link address add "$3/32" dev "$2"
	$link address add "$4/128" dev "$2" nodad
	$link link set "$2" mtu $CLIENT_MTU up
	$link route add default dev "$2"
	$link -6 route add default dev "$2"
}

client_start()
{
	wireguard_start client "$WG" $INNER $INNER6
}

# wireguard_anew NAMESPACE INTERFACE: it forgets its keys, as after a restart of the gateway it does
# only 15 s later, and begins a handshake.
wireguard_anew()
{
	local inside=(ip netns exec "$NET_PREFIX$1") gateway

	gateway=$(<"$RUN/gateway.pub")
	"${inside[@]}" wg set "$2" peer "$gateway" remove
	"${inside[@]}" wg set "$2" peer "$gateway" allowed-ips 0.0.0.0/0,::/0 \
		endpoint "$CLIENT_ENDPOINT"
	poll_until 15 "${inside[@]}" ping -n -q -c 1 -W 1 $GATEWAY_INNER ||
		fail "the $1 does not reach the gateway again"
}

friend_start()
{
	net_add_namespace friend
	wireguard_start friend wg1 $FRIEND_INNER $FRIEND_INNER6
	poll_until 15 in_friend ping -n -q -c 1 -W 1 $GATEWAY_INNER ||
		fail "the friend does not reach the gateway through the tunnel"
}

# Seconds since the epoch of the client's last handshake; 0 is never.
client_handshake_time()
{
	in_client wg show "$WG" latest-handshakes | cut -f2
}

client_is_connected()
{
	[[ $(client_handshake_time) -gt 0 ]]
}

# The first packet into the tunnel starts the handshake.
client_connect()
{
	poll_until 15 in_client ping -n -q -c 1 -W 1 $GATEWAY_INNER ||
		fail "the client does not reach the gateway through the tunnel"
}
