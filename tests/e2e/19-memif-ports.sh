#!/usr/bin/env bash
# The public port is shared memory (net_memif), by configuration alone; another gateway is the far
# end, and counts what arrives.
#
#   client wan0 --- gwtun gateway A ~~~ memif ~~~ gateway B (203.0.113.9)
. "$(dirname "$0")/lib.sh"

readonly FAR_SOCKET=$RUN/far.sock N_DATAGRAMS=20

memif_port()
{
	printf '{ name = "%s"; device = "net_memif0,role=%s,socket-abstract=no,socket=%s"; ' \
		"$1" "$2" "$RUN/memif.sock"
}

conf_ports()
{
	cat <<PORTS
ports = (
	{ name = "tun"; device = "net_af_packet0,iface=gwtun,qpairs=$CONF_QPAIRS";
	  roles = [ "tunnel" ]; addresses = [ $CONF_ENTRY ]; },
	$(memif_port pub server) roles = [ "public" ]; addresses = [ "$GATEWAY_PUBLIC/24" ]; }
);
PORTS
}

# As many workers as the other end: a queue that the client end does not make takes no packet.
far_conf()
{
	cat <<CONF
eal = { lcores = [ $(conf_lcores) ]; huge = false; memory_mb = 256; mbufs = 16384; };
ports = ( $(memif_port far client) roles = [ "tunnel", "public" ]; addresses = [ "$HOST/24" ]; } );
tunnel = { private_key_file = "$RUN/gateway.key"; inner_addresses = [ "100.64.1.1" ]; };
public = { pool = [ "192.0.2.128/28" ]; };
control = { socket = "$FAR_SOCKET"; uapi_name = ""; };
CONF
}

far_counts()
{
	[[ $("$BUILD/app/portierctl/portierctl" -s "$FAR_SOCKET" --json stats |
		field totals.drops.entry_closed) -ge $1 ]]
}

make_keys
net_create
CONF_PEERS=$(conf_peer "leases = ( { proto = \"udp\"; public_address = \"198.51.100.1\";
	public_port = 20000; to_port = 5001; } );")
gateway_conf
gateway_start
far_conf >"$RUN/far.conf"
spawn gateway "$BUILD/app/portier/portier" -c "$RUN/far.conf" >"$RUN/far.log" 2>&1
client_start
client_connect

step "datagrams of the client cross the shared memory"
send_datagrams()
{
	in_client python3 - <<-PY
		import socket
		sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		sock.bind(("$INNER", 5001))
		for n in range($N_DATAGRAMS):
		    sock.sendto(b"%d" % n, ("$HOST", 9))
	PY
	far_counts "$N_DATAGRAMS"
}
eventually 20 "they arrive" send_datagrams

finish
