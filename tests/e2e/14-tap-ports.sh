#!/usr/bin/env bash
# The same job on net_tap: the kernel's ends of the two TAP devices move into the namespaces of the
# client and of the Internet. Each end has the hardware address of the DPDK port until it is given
# one of its own.
. "$(dirname "$0")/lib.sh"

conf_ports()
{
	cat <<PORTS
ports = (
	{ name = "tun"; device = "net_tap0,iface=wan0"; roles = [ "tunnel" ]; rx_queues = 1;
	  addresses = [ $CONF_ENTRY ]; },
	{ name = "pub"; device = "net_tap1,iface=inet0"; roles = [ "public" ]; rx_queues = 1;
	  addresses = [ "$GATEWAY_PUBLIC/24" ]; }
);
PORTS
}

make_keys
net_namespaces
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
ip -n gateway link set wan0 netns client
ip -n gateway link set inet0 netns internet
ip_client link set wan0 address 02:00:00:00:00:02 up
ip_internet link set inet0 address 02:00:00:00:00:09 up
net_plain_frames client wan0
net_plain_frames internet inet0
net_address_client
net_address_internet
client_start
client_connect
client_serves 5001
lease_open --proto both --to-port 5001
transfer_both_ways 10000000
step "datagrams"
must "echo" datagrams sizes 0 1390 10

finish
