#!/usr/bin/env bash
# The same job on net_af_xdp, by configuration alone.
. "$(dirname "$0")/lib.sh"

conf_ports()
{
	cat <<PORTS
ports = (
	{ name = "tun"; device = "net_af_xdp0,iface=gwtun"; roles = [ "tunnel" ];
	  addresses = [ $CONF_ENTRY ]; },
	{ name = "pub"; device = "net_af_xdp1,iface=gwpub"; roles = [ "public" ];
	  addresses = [ "$GATEWAY_PUBLIC/24" ]; }
);
PORTS
}

make_keys
net_create
CONF_PEERS=$(conf_peer)
gateway_conf
gateway_start
client_start
client_connect
client_serves 5001
lease_open --proto both --to-port 5001
transfer_both_ways 10000000
step "datagrams"
must "echo" datagrams sizes 0 1390 10

finish
