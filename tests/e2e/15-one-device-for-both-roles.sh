#!/usr/bin/env bash
# One device is tunnel and public port: the client and the Internet are on the same wire.
#
#   client wan0 ------+
#                     +--- bridge (namespace switch) --- gwtun portier
#   internet inet0 ---+
. "$(dirname "$0")/lib.sh"

conf_ports()
{
	cat <<PORTS
ports = ( { name = "wan"; device = "net_af_packet0,iface=gwtun,qpairs=$CONF_QPAIRS";
	roles = [ "tunnel", "public" ];
	addresses = [ $CONF_ENTRY, "$GATEWAY_PUBLIC/24" ]; } );
PORTS
}

# switch_port NAMESPACE INTERFACE PORT
switch_port()
{
	ip link add "$2" netns "$1" type veth peer name "$3" netns switch
	net_plain_frames "$1" "$2"
	net_plain_frames switch "$3"
	ip -n switch link set "$3" master br0
	ip -n switch link set "$3" up
	ip -n "$1" link set "$2" up
}

make_keys
net_namespaces
net_add_namespace switch
ip -n switch link add br0 type bridge
ip -n switch link set br0 up
switch_port client wan0 to-client
switch_port internet inet0 to-internet
switch_port gateway gwtun to-gateway
net_address_client
net_address_internet
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001

step "closed by default"
before=$(drop no_lease)
in_internet curl --silent --max-time 1 http://198.51.100.9:5001/ && fail "there was an answer"
eventually 5 "it is counted" drop_is_at_least no_lease $((before + 1))

lease_open --proto both --to-port 5001
transfer_both_ways 20000000
step "datagrams"
must "echo" datagrams sizes 0 1390 10

finish
